"""Writing to stdout and stderr without waiting for a slow reader."""

from __future__ import annotations

import contextlib
import os
import pty
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.direct import output
from farhand_client.direct.output import OutputWriter
from tests.support.cost import assert_linear

DATA = os.urandom(300_000)


@pytest.fixture(params=["opened again", "by a thread"])
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A pipe, whose writing end can be opened again or not."""
    if request.param == "by a thread":
        monkeypatch.setattr(output, "_reopened", lambda fd: None)
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def waits(writer: OutputWriter) -> bool:
    return writer.pending


def wait(writer: OutputWriter) -> None:
    poll = select.poll()
    poll.register(writer.wait_fd, writer.wait_events)
    assert poll.poll(10_000)


def write_out(writer: OutputWriter, data: bytes) -> None:
    writer.write([data])
    wait(writer)
    writer.go_on()


def test_what_a_slow_reader_leaves_is_written_later_in_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = OutputWriter(writing)
    chunks = [memoryview(DATA)[at : at + 50_000] for at in range(0, len(DATA), 50_000)]
    written = writer.write(chunks[:4])
    assert waits(writer)
    assert writer.write(chunks[4:]) == 0
    assert os.get_blocking(writing)
    received = b""
    while waits(writer):
        received += os.read(reading, 65536)
        poll = select.poll()
        poll.register(writer.wait_fd, writer.wait_events)
        if poll.poll(20):
            written += writer.go_on()
    while len(received) < len(DATA):
        received += os.read(reading, 65536)
    assert (written, received) == (len(DATA), DATA)
    writer.close()


def test_nobody_reads_any_more(pipe: tuple[int, int]) -> None:
    writer = OutputWriter(pipe[1])
    os.dup2(os.open(os.devnull, os.O_RDONLY), pipe[0])
    with pytest.raises(BrokenPipeError):
        write_out(writer, b"x")
    writer.close()


def test_what_is_not_written_can_be_taken_over(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = OutputWriter(writing)
    written = writer.write([DATA[:10_000], DATA[10_000:20_000]])  # fits the pipe
    more, rest = writer.unwritten()
    assert written + more + sum(map(len, rest)) == 20_000
    assert os.read(reading, 65536) == DATA[: written + more]
    assert not writer.pending
    writer.close()


def test_a_file_and_dev_null_are_written_at_once(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file, Path("/dev/null").open("wb") as null:
        for target in (file, null):
            writer = OutputWriter(target.fileno())
            assert writer.write([DATA, b"", b"end"]) == len(DATA) + 3
            assert (writer.pending, writer.unwritten()) == (False, (0, []))
            writer.close()
    assert (tmp_path / "f").read_bytes() == DATA + b"end"


def test_a_full_disk_is_an_error() -> None:
    with Path("/dev/full").open("wb") as full:
        writer = OutputWriter(full.fileno())
        with pytest.raises(OSError, match="No space left"):
            writer.write([b"x"])
        writer.close()


def test_a_terminal_and_a_descriptor_that_never_waits_are_used_as_they_are() -> None:
    ours, theirs = pty.openpty()
    try:
        writer = OutputWriter(theirs)
        assert (writer.write([b"shown"]), os.read(ours, 100)) == (5, b"shown")
        writer.close()
        os.set_blocking(theirs, False)
        writer = OutputWriter(theirs)
        assert writer.wait_fd == theirs
        writer.close()
        assert os.write(theirs, b"open") == 4
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_a_thread_nothing_is_lost_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(output, "_reopened", lambda fd: None)
    monkeypatch.setattr("_thread.start_new_thread", refuse)
    reading, writing = os.pipe()
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        OutputWriter(writing)
    os.close(reading)
    os.close(writing)


def test_many_small_chunks_cost_as_much_as_they_are_long() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def fill() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, DATA)

    def make(size: int) -> OutputWriter:
        fill()
        writer = OutputWriter(writing)
        writer.write([b"x"] * size)
        return writer

    def write_all(made: OutputWriter) -> None:
        size = len(made.unwritten()[1])
        fill()
        made.write([b"x"] * size)
        while made.pending:
            os.read(reading, 65536)
            made.go_on()

    assert_linear(write_all, make, 60_000)
    for end in (reading, writing):
        os.close(end)
