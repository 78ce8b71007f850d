"""Messages and results of the client itself."""

from __future__ import annotations

import errno
import io
import os

import pytest

from farhand_client.output import Gap
from farhand_client.ui import printing
from farhand_client.ui.printing import LocalError, discard_buffer, print_gap, print_json, print_message, print_output


def test_a_message_with_a_newline_cannot_look_like_two_messages(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("no\nfarhand: yes\x07")
    assert capsys.readouterr().err == "farhand: no\n  farhand: yes\\x07\n"


def test_results_are_printed_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    print_output("one\ntwo")
    print_json({"a": 1})
    assert capsys.readouterr() == ('one\ntwo\n{"a": 1}\n', "")


def test_a_gap_is_printed_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    gap = Gap("stdout", 3, 4)
    print_gap(gap)
    assert capsys.readouterr().err == f"farhand: {gap}\n"


class Unwritable(io.StringIO):
    """A stream whose writes fail with an error."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def flush(self) -> None:
        raise self.error


@pytest.fixture
def discarded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that were pointed at /dev/null."""
    numbers: list[int] = []
    monkeypatch.setattr(printing, "discard_buffer", numbers.append)
    return numbers


def test_a_full_disk_at_stdout_is_a_local_error(monkeypatch: pytest.MonkeyPatch, discarded: list[int]) -> None:
    monkeypatch.setattr("sys.stdout", Unwritable(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(LocalError, match=r"^cannot write the id to stdout: No space left on device$"):
        print_output("x", what="the id")
    assert discarded == [1]


def test_a_closed_stdout_is_a_broken_pipe(monkeypatch: pytest.MonkeyPatch, discarded: list[int]) -> None:
    monkeypatch.setattr("sys.stdout", Unwritable(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    with pytest.raises(BrokenPipeError):
        print_output("x")
    assert discarded == []


def test_an_unwritable_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch, discarded: list[int]) -> None:
    monkeypatch.setattr("sys.stderr", Unwritable(OSError(errno.ENOSPC, "No space left on device")))
    print_message("x")
    assert discarded == [2]


def test_a_discarded_descriptor_writes_to_nowhere() -> None:
    reading, writing = os.pipe()
    discard_buffer(writing)
    os.write(writing, b"x")
    assert os.read(reading, 1) == b""
    os.close(reading)
    os.close(writing)
