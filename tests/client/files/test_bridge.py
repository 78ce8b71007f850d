"""Threads read and write a run's streams with blocking calls, under the run's own flow control."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from farhand_client.errors import ConnectionLost
from farhand_client.files.bridge import CREDIT_STEP, MAX_HOP, MAX_UNSENT, Incoming, RunStream, StreamClosed
from farhand_client.output import Gap
from farhand_client.stdin import InputStream
from farhand_protocol.limits import MiB

T = TypeVar("T")

SOON = 20.0
"""Seconds within which what is expected must happen, on any machine."""


class Channel:
    """A run's stdin at the service: it takes what it has granted."""

    def __init__(self, credit: int = 0) -> None:
        self.credit = credit
        self.received = bytearray()
        self.stdin: InputStream | None = None

    def room(self) -> int:
        return self.credit

    def send(self, data: bytes | memoryview) -> None:
        self.credit -= len(data)
        self.received += data

    def flush(self) -> None:
        pass

    def end(self) -> bool:
        return True

    def grant(self, count: int) -> None:
        assert self.stdin is not None
        self.credit += count
        self.stdin.pump()


class Bridge:
    """A `RunStream` with its channel, and a thread that uses it."""

    def __init__(self, credit: int = 1 << 40) -> None:
        self.channel = Channel(credit)
        self.channel.stdin = InputStream(self.channel)
        self.consumed = 0
        self.returned = asyncio.Event()
        self.stream = RunStream(self.channel.stdin, self._consumed)
        self.feeding = asyncio.ensure_future(self.stream.feed())
        self._pool = ThreadPoolExecutor(2)

    def _consumed(self, count: int) -> None:
        self.consumed += count
        self.returned.set()

    def in_thread(self, function: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def close(self) -> None:
        self.stream.stop()
        self.feeding.cancel()
        await asyncio.gather(self.feeding, return_exceptions=True)
        self._pool.shutdown()


def read(stream: RunStream | Incoming, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: stream.readinto(memoryview(buffer))])


def read_all(stream: RunStream) -> bytes:
    found = bytearray()
    while chunk := read(stream, 100_000):
        found += chunk
    return bytes(found)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something in another thread is so: there is no event for a thread that has begun to wait."""
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.001)


async def test_all_that_a_thread_writes_is_sent_in_order() -> None:
    bridge = Bridge()
    whole = bytes(range(256)) * (5 * MiB // 256) + b"the end"

    def write() -> None:
        bridge.stream.write(b"head")
        bridge.stream.write(memoryview(bytearray(whole)))
        bridge.stream.write(b"")

    await asyncio.wait_for(bridge.in_thread(write), SOON)
    await until(lambda: len(bridge.channel.received) == len(whole) + 4)
    assert hashlib.sha256(bridge.channel.received).digest() == hashlib.sha256(b"head" + whole).digest()
    await bridge.close()


async def test_what_a_thread_has_written_may_be_overwritten_at_once() -> None:
    bridge = Bridge(credit=0)

    def write() -> None:
        buffer = bytearray(b"first")
        bridge.stream.write(memoryview(buffer))
        buffer[:] = b"never"

    await asyncio.wait_for(bridge.in_thread(write), SOON)
    bridge.channel.grant(100)
    await until(lambda: bool(bridge.channel.received))
    assert bridge.channel.received == b"first"
    await bridge.close()


async def test_a_writer_waits_for_the_credit_of_the_service_and_little_is_kept_meanwhile() -> None:
    bridge = Bridge(credit=0)
    count = 0

    def write() -> None:
        nonlocal count
        for _ in range(16):
            bridge.stream.write(bytes(MAX_HOP))
            count += 1

    writing = bridge.in_thread(write)
    await until(lambda: count == MAX_UNSENT // MAX_HOP)
    done, _ = await asyncio.wait([writing], timeout=0.05)
    assert not done
    assert count * MAX_HOP == MAX_UNSENT
    assert bridge.stream.unsent == MAX_UNSENT
    bridge.channel.grant(3 * MAX_HOP)
    await until(lambda: count == 3 + MAX_UNSENT // MAX_HOP)
    bridge.channel.grant(100 * MAX_HOP)
    await asyncio.wait_for(writing, SOON)
    await bridge.close()


async def test_a_waiting_writer_is_released_when_the_run_has_ended() -> None:
    bridge = Bridge(credit=0)
    writing = bridge.in_thread(lambda: bridge.stream.write(bytes(2 * MAX_UNSENT)))
    await until(lambda: bridge.channel.stdin is not None and bridge.channel.stdin.waiting > 0)
    assert bridge.channel.stdin is not None
    bridge.channel.stdin.finish(None)
    with pytest.raises(StreamClosed):
        await asyncio.wait_for(writing, SOON)
    with pytest.raises(StreamClosed):
        await bridge.in_thread(lambda: bridge.stream.write(b"x"))
    await asyncio.wait_for(bridge.feeding, SOON)
    await bridge.close()


async def test_a_thread_reads_what_arrives_until_the_end() -> None:
    bridge = Bridge()
    reading = bridge.in_thread(lambda: read_all(bridge.stream))
    for at in range(200):
        bridge.stream.incoming.feed(bytes([at]) * (at + 1))
        if at % 50 == 0:
            await asyncio.sleep(0)
    bridge.stream.incoming.end()
    assert await asyncio.wait_for(reading, SOON) == b"".join(bytes([at]) * (at + 1) for at in range(200))
    await bridge.close()


async def test_credit_is_returned_only_for_what_the_thread_has_read() -> None:
    bridge = Bridge()
    bridge.stream.incoming.feed(bytes(4 * MiB))
    await asyncio.sleep(0)
    assert bridge.consumed == 0
    await bridge.in_thread(lambda: read(bridge.stream, CREDIT_STEP - 1))
    await asyncio.sleep(0.01)
    assert bridge.consumed == 0
    await bridge.in_thread(lambda: read(bridge.stream, 1))
    await asyncio.wait_for(bridge.returned.wait(), SOON)
    assert bridge.consumed == CREDIT_STEP
    await bridge.close()
    assert bridge.consumed == 4 * MiB, "what is thrown away does not keep the run from ending"


async def test_after_an_outage_only_unread_bytes_are_dropped_and_they_are_the_last() -> None:
    incoming = Incoming(lambda count: None)
    for letter in (b"a", b"b", b"c", b"d"):
        incoming.feed(letter * 10)
    assert read(incoming, 5) == b"aaaaa"
    assert incoming.trim(100) == 0
    assert incoming.trim(16) == 20
    assert incoming.trim(0) == 10, "what is partly read stays"
    incoming.feed(b"b" * 3)
    incoming.end()
    assert read(incoming, 100) == b"aaaaabbb"
    assert read(incoming, 100) == b""


@pytest.mark.parametrize("how", ["end", "fail", "gap", "discard", "stop"])
async def test_a_waiting_reader_is_released_by_the_end_of_the_run_in_whatever_way(how: str) -> None:
    bridge = Bridge()
    began = threading.Event()

    def read_one() -> bytes:
        began.set()
        return read(bridge.stream, 10)

    reading = bridge.in_thread(read_one)
    await until(began.is_set)
    match how:
        case "end":
            bridge.stream.incoming.end()
        case "fail":
            bridge.stream.incoming.fail(ConnectionLost("cut"))
        case "gap":
            bridge.stream.incoming.gap(Gap("stdout", 0, 7))
        case "discard":
            bridge.stream.incoming.discard()
            bridge.stream.incoming.feed(b"late")
            assert bridge.consumed == 4
        case _:
            bridge.stream.stop()
    assert await asyncio.wait_for(reading, SOON) == b""
    await bridge.close()


def test_threads_outlive_the_loop_without_an_error() -> None:
    streams: list[RunStream] = []

    async def begin() -> None:
        stdin = InputStream(Channel())
        streams.append(RunStream(stdin, lambda count: None))
        streams[0].incoming.feed(bytes(CREDIT_STEP))

    asyncio.run(begin())
    assert len(read(streams[0], CREDIT_STEP)) == CREDIT_STEP
    streams[0].write(b"nobody sends this")
