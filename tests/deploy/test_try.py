"""`deploy/try` explains itself without setting anything up."""

from __future__ import annotations

import subprocess

import pytest

from tests.deploy.conftest import DEPLOY


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_its_help_needs_no_environment(option: str) -> None:
    done = subprocess.run(
        [DEPLOY / "try", option],
        env={"PATH": "/usr/bin:/bin", "FARHAND_VENV": "/nonexistent"},
        capture_output=True,
        check=True,
        timeout=10,
    )
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("Runs a command through a private Farhand service")
    assert lines[2].split() == ["deploy/try", *["opens", "the", "REPL,", "connected", "to", "such", "a", "service"]]
    assert done.stderr == b""
