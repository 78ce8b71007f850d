"""The names that scripts import from `farhand_client`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import farhand_client
from farhand_client import sync


def test_every_public_name_can_be_imported() -> None:
    for name in farhand_client.__all__:
        assert getattr(farhand_client, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        farhand_client.nothing  # noqa: B018  # the access is the test


def test_dir_lists_the_names_that_are_imported_on_first_use() -> None:
    script = "import farhand_client; print(sorted(set(farhand_client.__all__) - set(dir(farhand_client))))"
    script += "; import sys; print('farhand_client.client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nFalse\n"


def test_dir_lists_nothing_that_is_not_public() -> None:
    script = "import farhand_client, farhand_client.sync; farhand_client.Client; print(*dir(farhand_client))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if not name.startswith("__")} == {
        *(name for name in farhand_client.__all__ if not name.startswith("__")),
        "sync",
    }


def test_a_former_name_still_works() -> None:
    assert farhand_client.LineDown is farhand_client.Outage
    assert farhand_client.Applied is farhand_client.AppliedBounds
    assert farhand_client.Mark is farhand_client.OutputMark
    assert farhand_client.Size is farhand_client.WindowSize
    assert farhand_client.Terminal is farhand_client.TerminalRequest
    assert farhand_client.Usage is farhand_client.UsageReport


def test_sync_has_the_same_names() -> None:
    for name in sync.__all__:
        assert getattr(sync, name) is not None
    assert (sync.Client, sync.Run) == (sync.SyncClient, sync.SyncRun)
    assert set(sync.__all__) <= set(farhand_client.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert farhand_client.__version__ == version("farhand")


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys, farhand_client; print([name for name in sys.modules if name.startswith('farhand_client.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_program_starts_without_the_api_and_the_validation_library() -> None:
    """Each of these would make `farhand --help` and a wrong command line slower."""
    heavy = ["asyncio", "pydantic", "ssl", "farhand_protocol.messages", "farhand_client.client"]
    script = f"import sys, farhand_client.cli.main; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
