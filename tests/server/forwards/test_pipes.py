"""Frames go over pipes under back-pressure, until an end is closed."""

from __future__ import annotations

import asyncio
import os

import pytest

from farhand_server.forwards.pipes import FRAMES_READ_SIZE, MAX_CHUNKS, PipeFrames


class Collector:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.arrived = bytearray()
        self.came = asyncio.Event()
        self.writable = asyncio.Event()
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def frames_arrived(self, data: bytes) -> None:
        assert 0 < len(data) <= FRAMES_READ_SIZE
        self.arrived += data
        self.came.set()

    def frames_ended(self, error: Exception | None) -> None:
        self.ended.set_result(error)

    def frames_writable(self) -> None:
        self.writable.set()


@pytest.mark.parametrize("chunks", [[1 << 20], [9, 1 << 18] * 4, [3] * 5000, [100] * (3 * MAX_CHUNKS)])
async def test_more_than_a_pipe_takes_arrives_in_order_and_then_the_end(chunks: list[int]) -> None:
    reading, writing = os.pipe()
    pipes, collector = PipeFrames(reading, writing), Collector()
    sent = [os.urandom(size) for size in chunks]
    async with asyncio.timeout(30):
        pipes.start(collector)
        if not pipes.write([memoryview(each) for each in sent]):
            await collector.writable.wait()
        os.close(writing)
        assert await collector.ended is None
    assert bytes(collector.arrived) == b"".join(sent)
    pipes.stop()
    os.close(reading)


async def test_nothing_arrives_while_it_pauses() -> None:
    reading, writing = os.pipe()
    pipes, collector = PipeFrames(reading, writing), Collector()
    pipes.start(collector)
    pipes.pause()
    assert pipes.write([b"abc"])
    assert not asyncio.get_running_loop().remove_reader(reading)
    pipes.resume()
    async with asyncio.timeout(30):
        await collector.came.wait()
    assert collector.arrived == b"abc"
    pipes.stop()
    os.close(reading)
    os.close(writing)


async def test_a_writer_without_a_reader_fails() -> None:
    reading, writing = os.pipe()
    pipes, collector = PipeFrames(reading, writing), Collector()
    pipes.start(collector)
    pipes.pause()
    assert not pipes.write([bytes(1 << 20)])
    os.close(reading)
    async with asyncio.timeout(30):
        assert isinstance(await collector.ended, BrokenPipeError)
    with pytest.raises(BrokenPipeError):
        pipes.write([b"more"])
    os.close(writing)


async def test_one_that_was_stopped_watches_nothing() -> None:
    reading, writing = os.pipe()
    pipes = PipeFrames(reading, writing)
    pipes.start(Collector())
    assert not pipes.write([bytes(1 << 20)])
    pipes.stop()
    loop = asyncio.get_running_loop()
    assert not loop.remove_reader(reading)
    assert not loop.remove_writer(writing)
    os.close(reading)
    os.close(writing)
