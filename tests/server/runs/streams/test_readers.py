"""Output read from real pipes and terminals: nothing lost, nothing doubled, nothing unbounded."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os

import pytest

from farhand_server.runs.output.spool import MIN_SPOOL, MemorySpool, SpoolMemory
from farhand_server.runs.streams.pipes import PIPE_SIZE
from farhand_server.runs.streams.readers import PIPE_READ_SIZE, PipeReader, TerminalReader

from ..ptys import RAW, opened

TIMEOUT = 10.0


class Reading:
    """A pipe that is read into a spool."""

    def __init__(self, before: bytes = b"") -> None:
        fd, self.write_end = os.pipe2(os.O_CLOEXEC)
        self.spool = MemorySpool(MIN_SPOOL, SpoolMemory(1 << 30))
        self.spool.append(before)
        self.ended = asyncio.Event()
        self.changed = asyncio.Event()
        self.spool.listeners.append(self.changed.set)
        self.reader = PipeReader(fd, self.spool, self.ended.set)

    async def has(self, count: int) -> None:
        """Wait until the spool has received `count` bytes in all."""
        async with asyncio.timeout(TIMEOUT):
            while self.spool.end < count:
                self.changed.clear()
                await self.changed.wait()


def fill(fd: int) -> int:
    """Write to a pipe until it is full; return the number of bytes."""
    os.set_blocking(fd, False)
    written = 0
    try:
        while True:
            written += os.write(fd, b"x" * 4096)
    except BlockingIOError:
        return written


async def turns() -> None:
    """Let the event loop poll its descriptors a few times."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_output_and_its_end_arrive() -> None:
    pipe = Reading()
    os.write(pipe.write_end, b"one")
    await pipe.has(3)
    os.write(pipe.write_end, b"two")
    os.close(pipe.write_end)
    async with asyncio.timeout(TIMEOUT):
        await pipe.ended.wait()
    assert pipe.spool.read(0, 100) == b"onetwo"
    assert pipe.spool.ended


ALMOST = bytes(MIN_SPOOL - 10)
"""Leaves room for ten bytes."""


async def full() -> Reading:
    """Return a pipe whose spool is full."""
    pipe = Reading(ALMOST)
    os.write(pipe.write_end, b"x" * 10)
    await pipe.has(MIN_SPOOL)
    return pipe


async def test_a_full_spool_stops_reading_and_room_resumes_it() -> None:
    pipe = await full()
    written = fill(pipe.write_end)
    await turns()
    assert pipe.spool.end == MIN_SPOOL
    assert fill(pipe.write_end) == 0
    before = pipe.spool.touched
    pipe.spool.hold(MIN_SPOOL)
    assert pipe.spool.touched > before  # waiting for room does not count as idle
    await pipe.has(MIN_SPOOL + min(written, 64 << 10))
    pipe.reader.close()
    os.close(pipe.write_end)


async def test_reading_starts_once_an_initially_full_spool_has_room() -> None:
    pipe = Reading(bytes(MIN_SPOOL))
    os.write(pipe.write_end, b"more")
    await turns()
    assert pipe.spool.end == MIN_SPOOL
    pipe.spool.hold(MIN_SPOOL)
    await pipe.has(MIN_SPOOL + 4)
    pipe.reader.close()
    os.close(pipe.write_end)


async def test_polling_reads_what_is_there_without_a_turn_of_the_loop_but_not_beyond_the_limit() -> None:
    pipe = Reading()
    os.write(pipe.write_end, b"one")
    pipe.reader.poll()
    assert pipe.spool.read(0, 9) == b"one"
    pipe.reader.poll()
    assert not pipe.ended.is_set()
    os.close(pipe.write_end)
    pipe.reader.poll()
    assert pipe.ended.is_set()
    pipe.reader.poll()
    full = Reading(b"x" * MIN_SPOOL)
    os.write(full.write_end, b"one")
    full.reader.poll()
    assert full.spool.end == MIN_SPOOL
    os.close(full.write_end)
    full.reader.close()


async def test_draining_reads_beyond_the_limit_but_no_more_than_a_pipe_holds() -> None:
    pipe = await full()
    written = fill(pipe.write_end)
    assert not pipe.reader.drain()
    assert pipe.spool.end == MIN_SPOOL + written <= MIN_SPOOL + PIPE_SIZE
    os.close(pipe.write_end)
    assert pipe.reader.drain()
    assert pipe.ended.is_set()


async def test_draining_a_full_pipe_finds_the_end_behind_its_bytes() -> None:
    pipe = Reading()
    fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    assert fill(pipe.write_end) == PIPE_SIZE
    os.close(pipe.write_end)
    assert pipe.reader.drain()
    assert pipe.spool.end == PIPE_SIZE


async def test_output_that_cannot_be_read_is_a_failure_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(fd: int, size: int) -> bytes:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    reading = Reading()
    failures: list[str] = []
    reading.spool.on_failure = failures.append
    os.write(reading.write_end, b"lost")
    monkeypatch.setattr(os, "read", read)
    reading.reader.poll()
    assert (failures, reading.spool.ended) == (["its output cannot be read: Cannot allocate memory"], True)
    os.close(reading.write_end)


async def test_closing_a_reader_reports_the_end_once_and_closes_the_pipe() -> None:
    pipe = Reading()
    pipe.reader.close()
    assert pipe.ended.is_set()
    pipe.ended.clear()
    pipe.reader.close()
    assert not pipe.ended.is_set()
    with pytest.raises(BrokenPipeError):
        os.write(pipe.write_end, b"x")
    os.close(pipe.write_end)


class OnTerminal(Reading):
    """A terminal that is read into a spool; the test writes to `slave` as a program would."""

    def __init__(self) -> None:
        self.terminal = opened(*RAW)
        self.slave = self.terminal.slave
        self.spool = MemorySpool(MIN_SPOOL, SpoolMemory(1 << 30))
        self.ended = asyncio.Event()
        self.changed = asyncio.Event()
        self.appended: list[int] = []
        self.spool.listeners += [self.changed.set, lambda: self.appended.append(self.spool.end)]
        self.reader = TerminalReader(self.terminal.master, self.spool, self.ended.set)


async def test_a_terminal_is_read_as_one_chunk_however_it_was_written() -> None:
    terminal = OnTerminal()
    for _ in range(10):
        os.write(terminal.slave, bytes(900))
    await terminal.has(9000)
    assert terminal.appended == [9000]
    os.write(terminal.slave, b"x")
    await terminal.has(9001)
    terminal.reader.close()
    terminal.terminal.close()


async def test_no_second_read_follows_the_echo_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = OnTerminal()
    reads: list[int] = []
    real = os.read

    def read(fd: int, size: int) -> bytes:
        if fd == terminal.terminal.master:
            reads.append(size)
        return real(fd, size)

    monkeypatch.setattr(os, "read", read)
    for key in range(3):
        os.write(terminal.slave, b"k")
        await terminal.has(key + 1)
    assert len(reads) == 3
    terminal.reader.close()
    terminal.terminal.close()


async def test_no_more_is_read_at_once_from_a_flooded_terminal_than_from_a_pipe() -> None:
    terminal = OnTerminal()
    writing = asyncio.create_task(asyncio.to_thread(os.write, terminal.slave, bytes(2 * PIPE_READ_SIZE)))
    await terminal.has(2 * PIPE_READ_SIZE)
    assert await writing == 2 * PIPE_READ_SIZE
    assert max(end - begin for begin, end in zip([0, *terminal.appended], terminal.appended, strict=False)) <= (
        PIPE_READ_SIZE + 4096
    )
    terminal.reader.close()
    terminal.terminal.close()


@pytest.mark.parametrize("how", ["loop", "drain"])
async def test_the_end_of_a_terminal_comes_after_its_last_bytes(how: str) -> None:
    terminal = OnTerminal()
    os.write(terminal.slave, b"tail" * 2000)
    terminal.terminal.release()
    if how == "loop":
        async with asyncio.timeout(TIMEOUT):
            await terminal.ended.wait()
    else:
        assert terminal.reader.drain()
    assert terminal.spool.end == 8000
    assert terminal.spool.ended
    assert os.fstat(terminal.terminal.master)  # still open: its opener closes it
    terminal.terminal.close()


async def test_draining_reads_pending_output_of_a_terminal_that_is_still_open() -> None:
    terminal = OnTerminal()
    os.write(terminal.slave, b"said")
    assert not terminal.reader.drain()
    assert terminal.spool.end == 4
    terminal.reader.close()
    assert terminal.spool.ended
    terminal.terminal.close()
