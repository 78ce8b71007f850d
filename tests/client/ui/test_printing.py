"""Messages and results of the client itself."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import sys
from collections.abc import Callable
from functools import partial

import pytest

from farhand_client.output import Gap
from farhand_client.ui import printing
from farhand_client.ui.printing import (
    LocalError,
    can_read_stdin,
    discard_buffer,
    flush_messages,
    flush_output,
    print_bytes,
    print_gap,
    print_json,
    print_message,
    print_output,
    require_stdin,
    require_stdout,
)


def test_a_message_with_a_newline_cannot_look_like_two_messages(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("no\nfarhand: yes\x07")
    assert capsys.readouterr().err == "farhand: no\n  farhand: yes\\x07\n"


def test_names_of_files_are_printed_as_they_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_output("first")
    print_bytes(b"\xff\n")
    print_bytes(b"\xfe\n", 2)
    assert capfdbinary.readouterr() == (b"first\n\xff\n", b"\xfe\n")


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


def test_without_a_descriptor_for_dev_null_the_stream_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    stderr = Unwritable(OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        patch.setattr(os, "open", fail)
        discard_buffer(2)
        assert sys.stderr is not stderr
        print_message("x")


def test_what_a_stream_still_holds_is_written_or_reported(
    monkeypatch: pytest.MonkeyPatch, discarded: list[int]
) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Unwritable(OSError(errno.EBADF, "Bad file descriptor")))
    flush_messages()
    with pytest.raises(LocalError, match=r"^cannot write to stdout: it is closed$"):
        flush_output()
    assert discarded == [2, 1]


@pytest.mark.parametrize(("mode", "usable"), [(os.O_RDONLY, (True, False)), (os.O_WRONLY, (False, True))])
def test_standard_files_that_are_open_the_wrong_way_are_known_before_they_are_used(
    monkeypatch: pytest.MonkeyPatch, mode: int, usable: tuple[bool, bool]
) -> None:
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, command: mode)
    assert can_read_stdin() is usable[0]
    requirements: list[Callable[[], None]] = [require_stdin, partial(require_stdout, "x would be lost")]
    for allowed, require in zip(usable, requirements, strict=True):
        if allowed:
            require()
            continue
        with pytest.raises(LocalError, match="is not open for"):
            require()
