"""Frames go over pipes under back-pressure, until an end is closed."""

from __future__ import annotations

import asyncio
import os

import pytest

from farhand_server.forwards.pipes import FRAMES_READ_SIZE, PipeFrames


async def test_more_than_a_pipe_takes_arrives_in_order_and_then_the_end() -> None:
    reading, writing = os.pipe()
    pipes = PipeFrames(reading, writing)
    sent = os.urandom(1 << 20)

    async def write() -> None:
        await pipes.write(sent)
        os.close(writing)

    task = asyncio.create_task(write())
    received = []
    while data := await pipes.read():
        assert len(data) <= FRAMES_READ_SIZE
        received.append(data)
    await task
    assert b"".join(received) == sent
    os.close(reading)


async def test_a_writer_without_a_reader_fails() -> None:
    reading, writing = os.pipe()
    pipes = PipeFrames(reading, writing)
    task = asyncio.create_task(pipes.write(bytes(1 << 20)))
    await asyncio.sleep(0)
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        await task
    os.close(writing)


async def test_waiting_can_be_cancelled() -> None:
    reading, writing = os.pipe()
    pipes = PipeFrames(reading, writing)
    task = asyncio.create_task(pipes.read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not asyncio.get_running_loop().remove_reader(reading)
    os.close(reading)
    os.close(writing)
