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


SLOW: list[tuple[str, list[str]]] = [
    # `farhand --help`, and a wrong command line
    ("farhand_client.cli.main", ["argparse", "asyncio", "pydantic", "ssl", "farhand_client.client"]),
    ("farhand_client.cli.commands", ["asyncio", "dataclasses", "pydantic", "ssl", "farhand_client.client"]),
    # the service is launched before a client is loaded
    ("farhand_client.cli.local", ["pydantic", "cryptography", "prompt_toolkit", "farhand_client.client"]),
    # the prompt is shown before a client is loaded
    ("farhand_client.cli.repl", ["pydantic", "cryptography", "prompt_toolkit", "farhand_client.client"]),
    ("farhand_client.repl.attended", ["pydantic", "cryptography", "farhand_client.client", "farhand_protocol.model"]),
    # the API, and the commands that use it
    (
        "farhand_client.client",
        ["prompt_toolkit", "cryptography", "argparse", "farhand_client.cli", "importlib.metadata"],
    ),
    ("farhand_client.sync", ["farhand_files", "blake3", "pathspec", "rich", "farhand_client.files.transfer"]),
    ("farhand_client.files.requests", ["blake3", "pathspec", "rich", "farhand_files.sender", "farhand_files.receiver"]),
    ("farhand_client.cli.ps", ["prompt_toolkit", "cryptography", "farhand_client.repl", "importlib.metadata"]),
]
"""Modules that are imported while somebody waits, and what they must not import: it is slow, and not needed yet."""


@pytest.mark.parametrize(("module", "slow"), SLOW, ids=[module for module, _ in SLOW])
def test_what_is_slow_is_imported_when_it_is_needed(module: str, slow: list[str]) -> None:
    script = f"import sys, {module}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
