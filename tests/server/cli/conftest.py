"""The commands of `farhandd`, run in the test's own process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from farhand_server.cli import main
from tests.support.service import environment


@dataclass
class Result:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs commands with all of their files below `directory`."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture

    def __call__(self, *arguments: str | Path) -> Result:
        try:
            code = main([os.fspath(argument) for argument in arguments])
        except SystemExit as end:  # argparse's own exit
            code = int(end.code or 0)
        out, err = self._capture.readouterr()
        return Result(code, out, err)


@pytest.fixture
def farhandd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return CommandLine(tmp_path, capsys)
