"""Directories and shells for tests of programs that run as another user."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(params=["dash", "bash"])
def shell(request: pytest.FixtureRequest, public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use dash, then bash, as /bin/sh."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"needs {request.param}")
    (public / "sh").symlink_to(found)
    monkeypatch.setattr("farhand_server.runs.process.launch.SHELL", os.fsencode(public / "sh"))
