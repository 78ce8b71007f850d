"""Bytes are written whole to a file descriptor, without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from farhand_client.descriptors import descriptor_writer


async def test_a_regular_file_gets_all_chunks(tmp_path: Path) -> None:
    chunks = [b"%d\n" % number for number in range(2000)]  # more than one writev(2)
    with (tmp_path / "file").open("wb") as file:
        await descriptor_writer(file.fileno()).write(chunks)
    assert (tmp_path / "file").read_bytes() == b"".join(chunks)


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_full_pipe_does_not_block_the_loop(blocking: bool) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    data = bytes(1_000_000)
    task = asyncio.create_task(descriptor_writer(writing).write([b"x", data]))
    await asyncio.sleep(0.01)  # the loop runs, although no process reads yet
    assert not task.done()
    received = bytearray()
    while len(received) < 1 + len(data):
        received += await asyncio.to_thread(os.read, reading, 65536)
    await task
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        await descriptor_writer(writing).write([b"more"])
    os.close(writing)
    assert received == b"x" + data


async def test_a_full_disk_is_an_error() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        await descriptor_writer(fd).write([b"x"])
    os.close(fd)


async def test_without_a_thread_no_writer_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    reading, writing = os.pipe()
    with pytest.raises(OSError, match=r"no thread can be started; a limit on processes"):
        descriptor_writer(writing)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("written", [b"", b"x"])
async def test_a_writer_closes_its_descriptor_when_everything_is_written(written: bytes, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (tmp_path / "file").open("wb") as file:
        regular = os.dup(file.fileno())
    for fd in (writing, regular):
        writer = descriptor_writer(fd)
        if written:
            await writer.write([written])
        writer.close()
    assert await asyncio.to_thread(os.read, reading, 9) == written
    assert await asyncio.to_thread(os.read, reading, 9) == b""
    os.close(reading)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(regular)


async def test_any_error_of_the_thread_reaches_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, chunks: object) -> int:
        raise MemoryError

    reading, writing = os.pipe()
    writer = descriptor_writer(writing)
    monkeypatch.setattr(os, "writev", fail)
    with pytest.raises(MemoryError):
        await asyncio.wait_for(writer.write([b"x"]), 30)
    os.close(reading)
    os.close(writing)
