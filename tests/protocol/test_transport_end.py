"""Every end of a `ConnectionTransport`, on both loops: queued data arrive, `lost` is called once, nothing is left."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ConnectionFailed, Event, MessageReceived
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import ConnectionTransport
from tests.support.pairs import frames, in_phase, message
from tests.support.transports import PING, Recorder, attach, fill, on_each_loop, read_to_end, serving, sockets


@on_each_loop
async def test_close_first_sends_all_queued_frames() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(serving(), recorder, ours)
        count = await fill(transport)
        transport.connection.send_data(1, "stdout", b"the last")
        transport.close()
        transport.close()
        assert not transport.room
        assert frames(await read_to_end(peer))[count].payload == b"the last"
    await recorder.end()
    assert (recorder.losses, recorder.writables) == ([None], 0)


@on_each_loop
async def test_the_last_message_arrives_although_bytes_from_the_peer_are_unread() -> None:
    def refuse(transport: ConnectionTransport, event: Event) -> None:
        transport.connection.fail(ErrorCode.DENIED, "not here")
        transport.close()

    ours, peer = sockets()
    recorder = Recorder(refuse)
    with peer:
        await attach(serving(), recorder, ours)
        loop = asyncio.get_running_loop()
        # More than the transport has read when it closes: closing the socket at once would reset the peer.
        await loop.sock_sendall(peer, message(1, m.Stop()) * 20_000)
        (last,) = frames(await read_to_end(peer))
        assert b"not here" in last.payload
    await recorder.end()


@on_each_loop
async def test_close_gives_up_on_a_peer_that_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_protocol.transport.TRANSPORT_CLOSE_TIMEOUT", 0.05)
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(serving(), recorder, ours)
        await fill(transport)
        transport.close()
        await recorder.end()
    assert len(recorder.losses) == 1


@on_each_loop
async def test_abort_closes_at_once_with_data_queued() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(serving(), recorder, ours)
        await fill(transport)
        transport.abort()
        await recorder.end()
        transport.flush()
        transport.close()
        transport.abort()
        assert not transport.room
    assert len(recorder.losses) == 1


@pytest.mark.parametrize("how", ["close", "abort"])
@on_each_loop
async def test_a_handler_that_closes_receives_nothing_more(how: str) -> None:
    ours, peer = sockets()
    recorder = Recorder(lambda transport, _: getattr(transport, how)())
    with peer:
        await attach(in_phase(Side.SERVER, Phase.READY), recorder, ours)
        await asyncio.get_running_loop().sock_sendall(peer, message(0, m.Pong(id=1)) * 5)
        assert how == "abort" or await read_to_end(peer) == b""
    await recorder.end()
    assert len(recorder.events) == 1


@on_each_loop
async def test_a_reset_by_the_peer_is_reported_once() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    transport = await attach(serving(), recorder, ours)
    await fill(transport)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await recorder.end()
    assert len(recorder.losses) == 1
    assert recorder.writables == 0


@on_each_loop
async def test_an_end_of_file_is_a_loss_without_an_error() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    await attach(serving(), recorder, ours)
    peer.close()
    await recorder.end()
    assert recorder.losses == [None]


@on_each_loop
async def test_a_peer_that_breaks_the_protocol_gets_an_error_and_is_disconnected() -> None:
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
async def test_an_error_of_the_peer_closes_the_transport() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        await attach(serving(), recorder, ours)
        error = message(0, m.Error(code=ErrorCode.INTERNAL, message="over"))
        await asyncio.get_running_loop().sock_sendall(peer, error + PING)
        assert await read_to_end(peer) == b""
    await recorder.end()
    assert [type(event) for event in recorder.events] == [MessageReceived]
