"""What `farhandd` prints, on streams that do not take it, and its exit codes."""

from __future__ import annotations

import errno
import io

import pytest

from farhand_server.cli import report
from farhand_server.cli.report import (
    CommandFailed,
    ResultNotWritten,
    flush_streams,
    print_error,
    print_result,
    report_failure,
)
from farhand_server.config import ConfigError


@pytest.fixture(autouse=True)
def discarded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that were pointed at /dev/null."""
    monkeypatch.delenv("FARHAND_DEBUG", raising=False)
    numbers: list[int] = []
    monkeypatch.setattr(report, "_discard", numbers.append)
    return numbers


class Unwritable(io.StringIO):
    """A stream whose flush fails with an error."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__()
        self.error = OSError(number, text)

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("number", "text", "why"),
    [(errno.ENOSPC, "No space left on device", "No space left on device"), (errno.EBADF, "Bad", "it is closed")],
)
def test_a_result_that_cannot_be_written_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, discarded: list[int], number: int, text: str, why: str
) -> None:
    monkeypatch.setattr("sys.stdout", Unwritable(number, text))
    with pytest.raises(ResultNotWritten, match=f"^cannot write to stdout: {why}$"):
        print_result("x")
    assert discarded == [1]
    monkeypatch.setattr("sys.stderr", Unwritable(number, text))
    with pytest.raises(ResultNotWritten):
        flush_streams()
    print_error("is dropped")
    assert discarded == [1, 2, 1, 2]


def test_a_pipe_without_a_reader_is_none(monkeypatch: pytest.MonkeyPatch, discarded: list[int]) -> None:
    monkeypatch.setattr("sys.stdout", Unwritable(errno.EPIPE, "Broken pipe"))
    with pytest.raises(BrokenPipeError) as caught:
        print_result("x")
    assert report_failure(caught.value) == 141
    assert discarded == [1]


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (SystemExit(2), 2, ""),
        (SystemExit(None), 0, ""),
        (SystemExit("text"), 255, ""),
        (KeyboardInterrupt(), 130, ""),
        (CommandFailed("no"), 1, "farhandd: no\n"),
        (ConfigError("no\x1b"), 1, "farhandd: no\\x1b\n"),
        (ResultNotWritten("no"), 255, "farhandd: no\n"),
        (OSError(errno.EACCES, "Permission denied", "/x"), 255, "farhandd: /x: Permission denied\n"),
    ],
    ids=repr,
)
def test_each_failure_has_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, sentence: str
) -> None:
    assert report_failure(error) == code
    assert capsys.readouterr() == ("", sentence)


def test_a_traceback_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARHAND_DEBUG", "1")
    report_failure(KeyError("x"))
    assert "farhandd: KeyError: 'x'\n" in capsys.readouterr().err


def test_a_newline_in_what_others_give_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("a\nfarhand: all is well: cannot be read")
    assert capsys.readouterr().err == "farhandd: a\nfarhandd: farhand: all is well: cannot be read\n"
