"""Input resent after a reconnect reaches the program once; exactly what the program has read is acknowledged."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.attachments.attachments import Attachment, Attachments
from farhand_server.runs.output.spool import MemorySpool, SpoolMemory
from farhand_server.runs.snapshots import Blob
from farhand_server.runs.streams.pipe_input import MIN_STDIN, PipeInput, PipeWriter
from farhand_server.runs.streams.pipes import STDIN_PIPE_SIZE
from tests.server.runs.attachments.test_attachments import Client

KEY = b"k" * 16
OTHER = b"o" * 16
TIMEOUT = 10.0


class Feeding:
    """The stdin of a run, whose pipe the test connects."""

    def __init__(self) -> None:
        self.memory = memory = SpoolMemory(1 << 20)
        self.all = Attachments({"stdout": MemorySpool(1, memory), "stderr": MemorySpool(1, memory)}, 60.0, lambda: None)
        self.stdin = PipeInput(self.all, self.memory)
        self.read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def attach(self, feeds: int | None, key: bytes = KEY) -> Attachment:
        """Attach a client."""
        return self.all.add(Client(), key=key, hold=True, taken={}, feeds=feeds)

    def connect(self) -> None:
        """Connect the pipe, as the start of the program does."""
        self.stdin.pipe.connect(self._write_end)
        self._write_end = -1

    def received(self) -> bytes:
        """Return what the program can read now."""
        try:
            return os.read(self.read_end, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close both ends of the pipe."""
        self.stdin.pipe.close()
        os.close(self.read_end)
        if self._write_end >= 0:
            os.close(self._write_end)


@pytest.fixture
async def feeding() -> AsyncIterator[Feeding]:
    run = Feeding()
    yield run
    run.close()


@given(data=st.binary(min_size=1, max_size=200), cuts=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200))))
def test_input_that_is_sent_again_arrives_once(data: bytes, cuts: list[tuple[int, int]]) -> None:
    async def scenario() -> None:
        run = Feeding()
        run.connect()
        received = b""
        for returned, further in cuts:
            at = max(0, run.stdin.received - returned)
            client = run.attach(at)
            run.stdin.write(client, data[at : at + further])
            received += run.received()
            run.all.lost(client)
        at = run.stdin.received // 2
        client = run.attach(at)
        run.stdin.write(client, data[at:])
        run.stdin.end(client)
        while chunk := run.received():
            received += chunk
        assert received == data
        assert run.stdin.credit(client) == len(data) - at
        run.close()

    asyncio.run(scenario())


async def test_nothing_is_acknowledged_before_the_pipe_accepts_it(feeding: Feeding) -> None:
    client = feeding.attach(0)
    feeding.stdin.write(client, b"early")
    assert feeding.stdin.credit(client) == 0
    feeding.connect()
    assert feeding.stdin.credit(client) == 5
    assert feeding.received() == b"early"


async def test_a_full_pipe_is_acknowledged_as_it_empties(feeding: Feeding) -> None:
    feeding.connect()
    client = feeding.attach(0)
    size = 2 * STDIN_PIPE_SIZE
    feeding.stdin.write(client, bytes(size))
    taken = feeding.stdin.credit(client)
    assert 0 < taken < size
    assert len(feeding.received()) == taken
    async with asyncio.timeout(10):
        while feeding.stdin.credit(client) < size:  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)


async def test_input_from_another_client_is_dropped_and_credited(feeding: Feeding) -> None:
    feeding.connect()
    feeding.attach(0)
    stranger = feeding.attach(0, OTHER)
    feeding.stdin.write(stranger, b"not for you")
    feeding.stdin.end(stranger)
    assert feeding.received() == b""
    assert feeding.stdin.credit(stranger) == len(b"not for you")


async def test_the_next_feeder_continues_where_the_last_one_was(feeding: Feeding) -> None:
    feeding.connect()
    first = feeding.attach(0)
    feeding.stdin.write(first, b"one ")
    feeding.all.left(first)
    second = feeding.attach(4, OTHER)
    feeding.stdin.write(second, b"two")
    feeding.stdin.end(second)
    assert feeding.received() == b"one two"
    assert feeding.stdin.credit(second) == 3


async def test_a_replaced_connection_is_not_notified_any_more(feeding: Feeding) -> None:
    feeding.connect()
    old = feeding.attach(0)
    feeding.stdin.write(old, b"one")
    new = feeding.attach(3)
    feeding.stdin.write(old, b"late")
    feeding.stdin.end(old)
    feeding.stdin.write(new, b"two")
    assert feeding.received() == b"onetwo"


async def test_the_end_of_input_may_come_twice(feeding: Feeding) -> None:
    feeding.connect()
    first = feeding.attach(0)
    feeding.stdin.write(first, b"all")
    feeding.stdin.end(first)
    second = feeding.attach(0)
    feeding.stdin.write(second, b"all")
    feeding.stdin.end(second)
    assert feeding.received() == b"all"
    assert feeding.stdin.credit(second) == 3
    assert os.read(feeding.read_end, 1) == b""


class Writing:
    """A pipe and the writer that fills it."""

    def __init__(self) -> None:
        self.taken = 0
        self.writer = PipeWriter(self._took, SpoolMemory(1 << 20))
        self.read_end, self._write_end = os.pipe2(os.O_CLOEXEC)

    def connect(self) -> None:
        """Connect the pipe, as the start of the program does."""
        self.writer.connect(self._write_end)

    def _took(self, count: int) -> None:
        self.taken += count

    async def read(self, count: int) -> bytes:
        """Read exactly `count` bytes, or up to the end."""
        data = b""
        while len(data) < count:
            chunk = await asyncio.to_thread(os.read, self.read_end, count - len(data))
            if not chunk:
                break
            data += chunk
        return data


async def test_input_written_before_the_start_comes_first() -> None:
    pipe = Writing()
    pipe.writer.write(b"early ")
    assert pipe.taken == 0
    pipe.connect()
    pipe.writer.write(b"late")
    pipe.writer.end()
    assert await pipe.read(100) == b"early late"
    assert pipe.taken == 10
    os.close(pipe.read_end)


async def test_an_end_of_input_before_the_start_is_kept() -> None:
    pipe = Writing()
    pipe.writer.end()
    pipe.connect()
    assert await pipe.read(1) == b""
    os.close(pipe.read_end)


async def turns() -> None:
    """Let the event loop poll its descriptors a few times."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_bytes_count_as_taken_when_the_pipe_accepts_them() -> None:
    pipe = Writing()
    pipe.connect()
    data = os.urandom(1 << 20)
    for start in range(0, len(data), 50_000):
        pipe.writer.write(data[start : start + 50_000])
    pipe.writer.end()
    capacity = pipe.taken
    assert 0 < capacity < len(data)
    await turns()
    assert pipe.taken == capacity
    assert await pipe.read(len(data) + 1) == data
    assert pipe.taken == len(data)
    os.close(pipe.read_end)


async def test_input_that_a_program_no_longer_reads_is_dropped_and_counts_as_taken() -> None:
    pipe = Writing()
    pipe.connect()
    pipe.writer.write(b"x" * 1_000_000)
    os.close(pipe.read_end)
    async with asyncio.timeout(TIMEOUT):
        while pipe.taken < 1_000_000:  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
    pipe.writer.write(b"more")
    pipe.writer.end()
    assert pipe.taken == 1_000_004


async def test_closing_drops_the_queue_and_counts_it_as_taken() -> None:
    pipe = Writing()
    pipe.connect()
    pipe.writer.write(b"x" * 1_000_000)
    pipe.writer.close()
    pipe.writer.close()
    assert pipe.taken == 1_000_000
    os.close(pipe.read_end)


class TestMemory:
    def _fed(self, feeding: Feeding, count: int) -> None:
        attachment = feeding.attach(0)
        for _ in range(count):
            feeding.stdin.write(attachment, b"x")

    async def test_frames_of_one_byte_cost_about_a_byte_each(self, feeding: Feeding) -> None:
        tracemalloc.start()
        self._fed(feeding, 200_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000
        assert feeding.memory.used == 200_000

    async def test_what_waits_counts_until_the_program_has_read_it_or_is_gone(self, feeding: Feeding) -> None:
        self._fed(feeding, 100_000)
        feeding.connect()
        assert feeding.memory.used == 100_000 - feeding.stdin.taken
        feeding.stdin.close()
        assert feeding.memory.used == 0
        assert feeding.stdin.taken == 100_000

    async def test_the_input_is_full_only_if_the_memory_is_used_up_and_a_pipe_of_it_waits(
        self, feeding: Feeding
    ) -> None:
        attachment = feeding.attach(0)
        full = []
        feeding.memory.used += feeding.memory.limit
        for data in (bytes(MIN_STDIN - 1), b"x"):
            feeding.stdin.write(attachment, data)
            full.append(feeding.stdin.full)
        feeding.memory.used -= feeding.memory.limit
        full.append(feeding.stdin.full)
        assert full == [False, True, False]

    async def test_a_restored_queue_counts_and_is_written_from_where_it_was(self, feeding: Feeding) -> None:
        data = bytes(range(256)) * 2000
        feeding.stdin.write(feeding.attach(0), data)
        feeding.connect()
        kept: list[bytes] = []

        def put(chunks: list[bytes]) -> Blob:
            kept.extend(chunks)
            return 0, 0

        snapshot = feeding.stdin.pipe.snapshot(put, received=len(data), taken=feeding.stdin.taken)
        assert b"".join(kept) == data[feeding.stdin.taken :]
        memory = SpoolMemory(1 << 20)
        other = PipeWriter(lambda count: None, memory)
        other.restore(snapshot.model_copy(update={"pipe": None}), lambda blob: b"".join(kept))
        assert memory.used == other.queued == len(data) - feeding.stdin.taken
        assert feeding.received() == data[: feeding.stdin.taken]
