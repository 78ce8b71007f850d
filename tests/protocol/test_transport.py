"""A `Link` on real sockets, on both loops: back-pressure, order, floods, and every way to an end."""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from farhand_protocol import messages as m
from farhand_protocol import transport
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ConnectionFailed, DataReceived, Event, MessageReceived
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import MAX_WINDOW, MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import WRITE_HIGH, Link
from tests.support.pairs import Pair, frames, in_phase, message, run

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
CHUNK = bytes(64 * 1024)
PING = message(0, m.Ping(id=1))


def on_each_loop(scenario: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the scenario on asyncio and on uvloop; what either reports as unhandled is a failure."""

    async def guarded(**fixtures: Any) -> None:
        unhandled: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with asyncio.timeout(20):
            await scenario(**fixtures)
        assert unhandled == []

    def test(loop: str, **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(guarded(**fixtures))

    # pytest takes the fixtures from the signature.
    wanted = inspect.signature(scenario)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    named = wanted.replace(parameters=[*wanted.parameters.values(), loop], return_annotation=None)
    functools.update_wrapper(test, scenario)
    vars(test).update(__signature__=named)
    del vars(test)["__wrapped__"]
    parametrized: Callable[..., None] = pytest.mark.parametrize("loop", LOOPS)(test)
    return parametrized


class Recorder:
    """A handler that writes down what it is told, and can answer."""

    def __init__(self, answer: Callable[[Link, Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self.lost_by: list[Exception | None] = []
        self.writables = 0
        self._answer = answer
        self._link: Link | None = None
        self._changed = asyncio.Event()

    @property
    def link(self) -> Link:
        assert self._link is not None
        return self._link

    def connected(self, link: Link) -> None:
        self._link = link

    def received(self, event: Event) -> None:
        assert self.lost_by == []
        self.events.append(event)
        self._changed.set()
        if self._answer is not None:
            self._answer(self.link, event)

    def writable(self) -> None:
        assert self.lost_by == []
        self.writables += 1
        self._changed.set()

    def lost(self, error: Exception | None) -> None:
        self.lost_by.append(error)
        self._changed.set()

    async def heard(self, count: int) -> None:
        """Wait for that many events."""
        await self.until(lambda: len(self.events) >= count)

    async def end(self) -> None:
        """Wait until the link is gone."""
        await self.until(lambda: self.lost_by)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, with small buffers, so that they fill soon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        end.setblocking(False)
    return ours, theirs


async def attach(connection: Connection, recorder: Recorder, end: socket.socket) -> Link:
    await asyncio.get_running_loop().create_connection(lambda: Link(connection, recorder), sock=end)
    return recorder.link


async def read_to_end(peer: socket.socket) -> bytes:
    loop, received = asyncio.get_running_loop(), bytearray()
    while data := await loop.sock_recv(peer, 1 << 18):
        received += data
    return bytes(received)


def serving() -> Connection:
    """A service with one open channel and more credit than any test needs."""
    server = in_phase(Side.SERVER, Phase.READY)
    credit = m.Credit(stream="stdout", bytes=MAX_WINDOW - server.limits.window)
    list(server.receive_data(message(1, run()) + message(1, credit)))
    return server


async def fill(link: Link) -> int:
    """Send as long as there is room; return how many frames went."""
    count = 0
    while link.room:
        link.connection.send_data(1, "stdout", CHUNK)
        link.flush()
        count += 1
        await asyncio.sleep(0)  # uvloop writes at the end of a turn
    return count


@on_each_loop
async def test_a_peer_that_stops_reading_stops_the_writer_and_no_more_than_the_bound_waits() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        link = await attach(serving(), recorder, ours)
        count = await fill(link)
        assert count < 40
        assert link.connection.queued <= WRITE_HIGH
        assert recorder.writables == 0
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.until(lambda: recorder.writables)
        assert link.room
        link.connection.send_data(1, "stdout", CHUNK)
        link.flush()
        for _ in range(10):
            await asyncio.sleep(0)
        count += 1
        link.close()
        assert len(frames(await reader)) == count
    await recorder.end()
    assert (recorder.writables, recorder.lost_by) == (1, [None])


@on_each_loop
async def test_the_last_message_arrives_although_bytes_of_the_peer_are_left_unread() -> None:
    def refuse(link: Link, event: Event) -> None:
        link.connection.fail(ErrorCode.DENIED, "not here")
        link.close()

    ours, peer = sockets()
    recorder = Recorder(refuse)
    with peer:
        await attach(serving(), recorder, ours)
        loop = asyncio.get_running_loop()
        # More than the link has read when it closes: closing the socket itself would reset the peer's.
        await loop.sock_sendall(peer, message(1, m.Stop()) * 20_000)
        (last,) = frames(await read_to_end(peer))
        assert b"not here" in last.payload
    await recorder.end()


@on_each_loop
async def test_what_was_not_flushed_counts_as_waiting_too() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        link = await attach(serving(), recorder, ours)
        count = 0
        while link.room:
            link.connection.send_data(1, "stdout", CHUNK)
            link.flush_soon()
            count += 1
        assert WRITE_HIGH <= link.connection.queued <= WRITE_HIGH + 2 * len(CHUNK)
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.until(lambda: recorder.writables)
        link.close()
        assert len(frames(await reader)) == count
    assert recorder.writables == 1


@on_each_loop
async def test_messages_overtake_the_data_held_back_and_not_the_ordered_ones() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        link = await attach(serving(), recorder, ours)
        before = await fill(link)
        for _ in range(3):
            link.connection.send_data(1, "stdout", CHUNK)
        link.connection.send(1, m.End(stream="stdout"))
        link.connection.send(0, m.Ping(id=5))
        link.flush()
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.until(lambda: recorder.writables)
        link.close()
        kinds = [frame.kind for frame in frames(await reader)]
    assert kinds == [Kind.STDOUT] * before + [Kind.MESSAGE] + [Kind.STDOUT] * 3 + [Kind.MESSAGE]


@on_each_loop
async def test_a_flooding_peer_that_reads_no_answers_is_not_read_from_until_it_does() -> None:
    ours, peer = sockets()
    pings = 150_000
    loop = asyncio.get_running_loop()
    with peer:
        server = in_phase(Side.SERVER, Phase.READY)
        recorder = Recorder()
        await attach(server, recorder, ours)
        noted = PING * 100 + message(0, m.Pong(id=1))  # the handler hears of pongs only
        flood = asyncio.create_task(loop.sock_sendall(peer, noted * (pings // 100)))
        await recorder.until(lambda: server.flooded)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not flood.done()
        assert server.queued < server.limits.control + transport.READ_SIZE + 100
        answers = 0
        while answers < len(PING) * pings:
            answers += len(await loop.sock_recv(peer, 1 << 18))
        await flood
        recorder.link.abort()
        await recorder.end()
    assert answers == len(PING) * pings


@on_each_loop
async def test_close_sends_what_is_queued_first() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        link = await attach(serving(), recorder, ours)
        count = await fill(link)
        link.connection.send_data(1, "stdout", b"the last")
        link.close()
        link.close()
        assert not link.room
        assert frames(await read_to_end(peer))[count].payload == b"the last"
    await recorder.end()
    assert (recorder.lost_by, recorder.writables) == ([None], 0)


@on_each_loop
async def test_close_does_not_wait_for_ever_for_a_peer_that_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CLOSE_TIMEOUT", 0.05)
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        link = await attach(serving(), recorder, ours)
        await fill(link)
        link.close()
        await recorder.end()
    assert len(recorder.lost_by) == 1


@on_each_loop
async def test_abort_closes_at_once_whatever_waits() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        link = await attach(serving(), recorder, ours)
        await fill(link)
        link.abort()
        await recorder.end()
        link.flush()
        link.close()
        link.abort()
        assert not link.room
    assert len(recorder.lost_by) == 1


@on_each_loop
async def test_a_reset_by_the_peer_is_a_loss_told_once() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    link = await attach(serving(), recorder, ours)
    await fill(link)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await recorder.end()
    assert len(recorder.lost_by) == 1
    assert recorder.writables == 0


@on_each_loop
async def test_an_end_of_file_is_a_loss_without_an_error() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    await attach(serving(), recorder, ours)
    peer.close()
    await recorder.end()
    assert recorder.lost_by == [None]


@on_each_loop
async def test_a_peer_that_breaks_the_protocol_is_told_and_left() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        await attach(serving(), recorder, ours)
        await asyncio.get_running_loop().sock_sendall(peer, b"GET / HTTP/1.1\r\n\r\n")
        (frame,) = frames(await read_to_end(peer))
    assert isinstance(frame.message, m.Error)
    assert frame.message.code is ErrorCode.UNKNOWN_KIND
    await recorder.end()
    assert [type(event) for event in recorder.events] == [ConnectionFailed]


@on_each_loop
async def test_an_error_of_the_peer_closes_the_link() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        await attach(serving(), recorder, ours)
        error = message(0, m.Error(code=ErrorCode.INTERNAL, message="over"))
        await asyncio.get_running_loop().sock_sendall(peer, error + PING)
        assert await read_to_end(peer) == b""
    await recorder.end()
    assert [type(event) for event in recorder.events] == [MessageReceived]


@on_each_loop
async def test_what_a_handler_sends_in_answer_leaves_with_the_answers_of_the_connection() -> None:
    def answer(link: Link, event: Event) -> None:
        link.connection.send(1, m.Started(pid=1))

    ours, peer = sockets()
    recorder = Recorder(answer)
    with peer:
        link = await attach(in_phase(Side.SERVER, Phase.READY), recorder, ours)
        await asyncio.get_running_loop().sock_sendall(peer, message(1, run()) + PING)
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.heard(1)
        link.close()
        assert [frame.message.type for frame in frames(await reader)] == ["started", "pong"]


@pytest.mark.parametrize("how", ["close", "abort"])
@on_each_loop
async def test_a_handler_that_closes_hears_nothing_more(how: str) -> None:
    ours, peer = sockets()
    recorder = Recorder(lambda link, _: getattr(link, how)())
    with peer:
        await attach(in_phase(Side.SERVER, Phase.READY), recorder, ours)
        await asyncio.get_running_loop().sock_sendall(peer, message(0, m.Pong(id=1)) * 5)
        assert how == "abort" or await read_to_end(peer) == b""
    await recorder.end()
    assert len(recorder.events) == 1


@on_each_loop
async def test_bytes_read_before_the_link_was_there_can_be_fed_to_it() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        link = await attach(in_phase(Side.SERVER, Phase.READY), recorder, ours)
        opening = message(1, run()) + encode_frame(Kind.STDIN, 1, b"first")
        link.feed(opening[:20])
        await asyncio.get_running_loop().sock_sendall(peer, opening[20:])
        await recorder.heard(2)
        assert recorder.events[1] == DataReceived(1, "stdin", b"first")
        link.abort()
        await recorder.end()


@on_each_loop
async def test_links_share_a_read_buffer_and_nothing_in_it() -> None:
    loop = asyncio.get_running_loop()
    ends = [sockets() for _ in range(8)]
    recorders = [Recorder() for _ in ends]
    links = [await attach(serving(), recorder, ours) for recorder, (ours, _) in zip(recorders, ends, strict=True)]
    assert len({id(link.get_buffer(-1)) for link in links}) == 1
    pieces = [encode_frame(Kind.STDIN, 1, bytes([number]) * 50_000) for number in range(len(ends))]
    await asyncio.gather(*(loop.sock_sendall(peer, piece) for (_, peer), piece in zip(ends, pieces, strict=True)))
    for number, recorder in enumerate(recorders):
        await recorder.heard(1)
        assert recorder.events == [DataReceived(1, "stdin", bytes([number]) * 50_000)]
        recorder.link.abort()
        await recorder.end()
        ends[number][1].close()


@on_each_loop
async def test_a_stream_through_small_windows_arrives_whole() -> None:
    limits = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=4 * MIN_DATA, channels=1)
    pair = Pair.ready(limits)
    pair.client.open(run())
    pair.deliver()
    whole = bytes(range(256)) * 2048
    left = bytearray(whole)
    arrived = bytearray()

    def pump(link: Link) -> None:
        while left and link.room and (room := pair.server.room(1, "stdout")):
            pair.server.send_data(1, "stdout", bytes(left[:room]))
            del left[:room]
        link.flush()

    def take(link: Link, event: Event) -> None:
        assert isinstance(event, DataReceived)
        arrived.extend(event.data)
        pair.client.take(1, "stdout", len(event.data))

    ours, theirs = sockets()
    writer, reader = Recorder(lambda link, _: pump(link)), Recorder(take)
    link = await attach(pair.server, writer, ours)
    await attach(pair.client, reader, theirs)
    pump(link)
    await reader.until(lambda: len(arrived) >= len(whole))
    assert arrived == whole
    for recorder in (writer, reader):
        recorder.link.close()
        await recorder.end()
