"""What a connection does with what it has received is bounded in time: others have their turn, and nothing is lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from farhand_protocol import messages as m
from farhand_protocol.buffers import RECEIVE_SIZE
from farhand_protocol.events import DataReceived, MessageReceived
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import CROWDED_RECEIVE_SIZE, ConnectionTransport
from tests.support.pairs import in_phase, message, run
from tests.support.transports import Recorder, on_each_loop, serving, sockets


class Slices:
    """A `LoopTime` that allows one event at a time, and lets the test decide who goes on."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.jobs: list[Callable[[], None]] = []
        self.allowed = True
        self.room = True
        self.reserved: list[int] = []
        self.granted: Callable[[], None] | None = None
        self.changed = asyncio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def left(self) -> float:
        return 1e-9 if self.allowed else 0.0

    def spend(self, seconds: float) -> None:
        assert seconds >= 0

    def wait(self, go_on: Callable[[], None]) -> None:
        self.waiting.append(go_on)
        self.changed.set()

    def reserve(self, size: int, granted: Callable[[], None]) -> bool:
        self.reserved.append(size)
        self.granted = granted
        return self.room

    def give_back(self, size: int) -> None:
        self.reserved.remove(size)

    def decode(self, decode: Callable[[], None], go_on: Callable[[], None]) -> None:
        self.jobs.append(decode)
        self.wait(go_on)


def stdin_of(recorder: Recorder) -> bytes:
    """Return the data so far. That of a large frame may come in several events."""
    return b"".join(event.data for event in recorder.events if isinstance(event, DataReceived))


async def _attached(
    slices: Slices, recorder: Recorder, ours: socket.socket, *, ready: bool = False
) -> ConnectionTransport:
    connection = in_phase(Side.SERVER, Phase.READY) if ready else serving()
    await asyncio.get_running_loop().create_connection(
        lambda: ConnectionTransport(connection, recorder, slices),
        sock=ours,
    )
    return recorder.transport


@on_each_loop
async def test_each_turn_takes_what_there_is_time_for_and_in_the_end_everything_was_taken() -> None:
    ours, peer = sockets()
    slices, recorder = Slices(), Recorder()
    with peer:
        await _attached(slices, recorder, ours)
        sent = [encode_frame(Kind.STDIN, 1, bytes([number])) for number in range(200)]
        await asyncio.get_running_loop().sock_sendall(peer, b"".join(sent))
        await recorder.wait_for_events(1)
        while len(recorder.events) < 200:
            before = len(recorder.events)
            for _ in range(3):
                await asyncio.sleep(0)
            assert len(recorder.events) == before, "it went on without having its turn"
            slices.allowed = False
            slices.waiting.pop()()
            assert len(recorder.events) == before, "it went on without having time"
            slices.allowed = True
            slices.waiting.pop()()
            await recorder.wait_for_events(before + 1)
        assert recorder.events == [DataReceived(1, "stdin", bytes([number])) for number in range(200)]
        # Reading goes on once everything was taken.
        slices.waiting.pop()()
        await asyncio.get_running_loop().sock_sendall(peer, encode_frame(Kind.STDIN, 1, b"last"))
        await recorder.wait_for_events(201)
        recorder.transport.abort()
        await recorder.end()


@on_each_loop
async def test_without_time_only_a_little_is_read_at_once() -> None:
    ours, peer = sockets()
    slices, recorder = Slices(), Recorder()
    slices.allowed = False
    with peer:
        transport = await _attached(slices, recorder, ours)
        assert len(transport.get_buffer(-1)) == CROWDED_RECEIVE_SIZE
        await asyncio.get_running_loop().sock_sendall(peer, encode_frame(Kind.STDIN, 1, bytes(50_000)))
        await slices.until(slices.waiting.__len__)
        slices.allowed = True
        assert len(transport.get_buffer(-1)) == RECEIVE_SIZE
        while len(received := stdin_of(recorder)) < 50_000:
            if slices.waiting:
                slices.waiting.pop()()
            await asyncio.sleep(0)
        assert received == bytes(50_000)
        transport.abort()
        await recorder.end()


@on_each_loop
async def test_a_connection_without_time_keeps_what_it_has_received_although_others_use_the_buffer() -> None:
    ends = [sockets() for _ in range(4)]
    slices = [Slices() for _ in ends]
    recorders = [Recorder() for _ in ends]
    loop = asyncio.get_running_loop()
    for one, recorder, (ours, _) in zip(slices, recorders, ends, strict=True):
        one.allowed = False
        await _attached(one, recorder, ours)
    for number, (_, peer) in enumerate(ends):
        await loop.sock_sendall(peer, encode_frame(Kind.STDIN, 1, bytes([number]) * 50_000))
    for one in slices:
        await one.until(one.waiting.__len__)
    for number, (one, recorder) in enumerate(zip(slices, recorders, strict=True)):
        one.allowed = True
        while len(received := stdin_of(recorder)) < 50_000:
            if one.waiting:
                one.waiting.pop()()
            await asyncio.sleep(0)
        assert received == bytes([number]) * 50_000
        recorder.transport.abort()
        await recorder.end()
        ends[number][1].close()


@on_each_loop
async def test_a_large_message_is_decoded_elsewhere_and_what_follows_waits() -> None:
    ours, peer = sockets()
    slices, recorder = Slices(), Recorder()
    large = run(argv=("x" * 20_000,))
    with peer:
        await _attached(slices, recorder, ours, ready=True)
        await asyncio.get_running_loop().sock_sendall(peer, message(1, large) + message(2, run()))
        await slices.until(lambda: slices.jobs)
        assert recorder.events == []
        await asyncio.to_thread(slices.jobs.pop())
        while len(recorder.events) < 2:
            while slices.waiting:
                slices.waiting.pop()()
            await asyncio.sleep(0)
        assert recorder.events == [MessageReceived(1, large), MessageReceived(2, run())]
        recorder.transport.abort()
        await recorder.end()


@on_each_loop
async def test_a_connection_that_is_lost_or_closed_while_it_waits_takes_no_more() -> None:
    for close in (ConnectionTransport.abort, ConnectionTransport.close):
        ours, peer = sockets()
        slices, recorder = Slices(), Recorder()
        with peer:
            await _attached(slices, recorder, ours)
            await asyncio.get_running_loop().sock_sendall(peer, encode_frame(Kind.STDIN, 1, b"x") * 10)
            await recorder.wait_for_events(1)
            close(recorder.transport)
            peer.close()
            await recorder.end()
            slices.waiting.pop()()
            assert len(recorder.events) == 1


@on_each_loop
async def test_without_turns_of_others_everything_is_taken_in_slices() -> None:
    ours, peer = sockets()

    def slow(transport: ConnectionTransport, _: object) -> None:
        end = asyncio.get_running_loop().time() + 0.002
        while asyncio.get_running_loop().time() < end:
            pass

    recorder = Recorder(slow)
    seen: list[int] = []
    with peer:
        connection = in_phase(Side.SERVER, Phase.READY)
        await asyncio.get_running_loop().create_connection(lambda: ConnectionTransport(connection, recorder), sock=ours)
        pongs = message(0, m.Pong(id=1)) * 20
        await asyncio.get_running_loop().sock_sendall(peer, pongs)
        while len(recorder.events) < 20:
            await asyncio.sleep(0)
            seen.append(len(recorder.events))
        assert len(set(seen)) >= 5, "the loop did not turn while the frames of one read were acted on"
        recorder.transport.abort()
        await recorder.end()


@on_each_loop
async def test_a_connection_that_is_held_takes_nothing_until_it_is_released() -> None:
    ours, peer = sockets()

    def hold(transport: ConnectionTransport, _: object) -> None:
        transport.hold()

    recorder = Recorder(hold)
    loop = asyncio.get_running_loop()
    with peer:
        await loop.create_connection(lambda: ConnectionTransport(serving(), recorder), sock=ours)
        for number in range(1, 4):
            await loop.sock_sendall(peer, encode_frame(Kind.STDIN, 1, b"x") * 2)
            await recorder.wait_for_events(2 * number - 1)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(recorder.events) == 2 * number - 1
            recorder.transport.release()
            await recorder.wait_for_events(2 * number)
            recorder.transport.release()
        recorder.transport.abort()
        await recorder.end()


@on_each_loop
async def test_nothing_more_of_a_large_message_is_read_until_there_is_memory_for_it() -> None:
    ours, peer = sockets()
    slices, recorder = Slices(), Recorder()
    slices.room = False
    large = message(1, run(argv=("x" * 1_000_000,)))
    loop = asyncio.get_running_loop()
    with peer:
        await _attached(slices, recorder, ours, ready=True)
        sending = asyncio.create_task(loop.sock_sendall(peer, large))
        while slices.granted is None:  # noqa: ASYNC110  # each turn reads some of it
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not sending.done()
        assert slices.reserved == [len(large)]
        slices.granted()
        await sending
        await slices.until(lambda: slices.jobs)
        assert slices.reserved == [len(large)], "it is given back before the message is decoded"
        slices.waiting.pop()()
        await recorder.wait_for_events(1)
        slices.waiting.pop()()
        assert slices.reserved == []
        recorder.transport.abort()
        await recorder.end()


@on_each_loop
async def test_memory_for_a_message_that_never_arrives_is_given_back() -> None:
    for room in (True, False):
        ours, peer = sockets()
        slices, recorder = Slices(), Recorder()
        slices.room = room
        with peer:
            await _attached(slices, recorder, ours, ready=True)
            await asyncio.get_running_loop().sock_sendall(peer, message(1, run(argv=("x" * 1_000_000,)))[:1000])
            while slices.granted is None:  # noqa: ASYNC110  # until it has arrived
                await asyncio.sleep(0)
            recorder.transport.abort()
            await recorder.end()
            if not room:
                slices.granted()
            assert slices.reserved == []
