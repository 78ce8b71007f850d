"""Help and errors of argparse, on streams that do not take them as they are."""

from __future__ import annotations

import errno
import io

import pytest

from farhand_client.cli.parser import CommandParser
from farhand_client.ui import printing
from farhand_client.ui.printing import LocalError


def test_what_an_error_quotes_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(prog="x", usage="x")
    parser.add_argument("--n", choices=("a",))
    for wrong, shown in ((["--\udcff\x1b[2J"], "--\\xff\\x1b[2J"), (["--n", "\udcff"], "'\\xff'")):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)
        assert shown in capsys.readouterr().err


def test_help_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    monkeypatch.setattr(printing, "discard_buffer", lambda fd: None)
    with pytest.raises(LocalError, match="cannot write to stdout: No space left on device"):
        CommandParser(prog="x").parse_args(["--help"])
