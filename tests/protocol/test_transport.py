"""`ConnectionTransport` on real sockets, on both loops: events reach the handler, and its answers leave together."""

from __future__ import annotations

import asyncio

import pytest

from farhand_protocol import messages as m
from farhand_protocol.events import DataReceived, Event
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import ConnectionTransport
from tests.support.pairs import Pair, frames, in_phase, message, run
from tests.support.transports import PING, Recorder, attach, on_each_loop, read_to_end, serving, sockets


@on_each_loop
async def test_messages_of_a_handler_are_sent_with_the_connections_own_answers() -> None:
    def answer(transport: ConnectionTransport, event: Event) -> None:
        transport.connection.send(1, m.Started(pid=1))

    ours, peer = sockets()
    recorder = Recorder(answer)
    with peer:
        transport = await attach(in_phase(Side.SERVER, Phase.READY), recorder, ours)
        await asyncio.get_running_loop().sock_sendall(peer, message(1, run()) + PING)
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.wait_for_events(1)
        transport.close()
        assert [frame.message.type for frame in frames(await reader)] == ["started", "pong"]


@on_each_loop
async def test_bytes_read_before_the_transport_existed_can_be_fed_to_it() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(in_phase(Side.SERVER, Phase.READY), recorder, ours)
        opening = message(1, run()) + encode_frame(Kind.STDIN, 1, b"first")
        transport.feed(opening[:20])
        await asyncio.get_running_loop().sock_sendall(peer, opening[20:])
        await recorder.wait_for_events(2)
        assert recorder.events[1] == DataReceived(1, "stdin", b"first")
        transport.abort()
        await recorder.end()


@on_each_loop
async def test_transports_share_a_read_buffer_but_no_data() -> None:
    loop = asyncio.get_running_loop()
    ends = [sockets() for _ in range(8)]
    recorders = [Recorder() for _ in ends]
    transports = [await attach(serving(), recorder, ours) for recorder, (ours, _) in zip(recorders, ends, strict=True)]
    assert len({id(transport.get_buffer(-1)) for transport in transports}) == 1
    chunks = [encode_frame(Kind.STDIN, 1, bytes([number]) * 50_000) for number in range(len(ends))]
    await asyncio.gather(*(loop.sock_sendall(peer, chunk) for (_, peer), chunk in zip(ends, chunks, strict=True)))
    for number, recorder in enumerate(recorders):
        await recorder.wait_for_events(1)
        assert recorder.events == [DataReceived(1, "stdin", bytes([number]) * 50_000)]
        recorder.transport.abort()
        await recorder.end()
        ends[number][1].close()


@on_each_loop
async def test_a_stream_through_small_windows_arrives_whole() -> None:
    limits = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=4 * MIN_DATA, channels=1)
    pair = Pair.ready(limits)
    pair.start()
    whole = bytes(range(256)) * 2048
    left = bytearray(whole)
    arrived = bytearray()

    def pump(transport: ConnectionTransport) -> None:
        while left and transport.room and (room := pair.server.room(1, "stdout")):
            pair.server.send_data(1, "stdout", bytes(left[:room]))
            del left[:room]
        transport.flush()

    def take(transport: ConnectionTransport, event: Event) -> None:
        assert isinstance(event, DataReceived)
        arrived.extend(event.data)
        pair.client.acknowledge(1, "stdout", len(event.data))

    ours, theirs = sockets()
    writer, reader = Recorder(lambda transport, _: pump(transport)), Recorder(take)
    transport = await attach(pair.server, writer, ours)
    await attach(pair.client, reader, theirs)
    pump(transport)
    await reader.until(lambda: len(arrived) >= len(whole))
    assert arrived == whole
    for recorder in (writer, reader):
        recorder.transport.close()
        await recorder.end()


@on_each_loop
async def test_a_transport_is_quiet_if_nothing_is_queued_or_was_sent_recently(monkeypatch: pytest.MonkeyPatch) -> None:
    # The real period, a tenth of a millisecond, may pass between two statements on a busy machine.
    monkeypatch.setattr("farhand_protocol.transport.QUIET_PERIOD", 0.1)
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(in_phase(Side.SERVER, Phase.READY), recorder, ours)
        seen = [transport.quiet]
        transport.flush()
        seen.append(transport.quiet)  # nothing was sent yet
        transport.connection.send(0, m.Ping(id=1))
        transport.flush_soon()
        seen.append(transport.quiet)  # a flush is scheduled
        await asyncio.sleep(0)
        transport.connection.send(0, m.Ping(id=2))
        transport.flush()
        seen.append(transport.quiet)  # it was sent just now
        await asyncio.sleep(0.11)
        seen.append(transport.quiet)
        assert seen == [True, True, False, False, True]
        transport.abort()
        await recorder.end()
