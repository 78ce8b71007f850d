"""A peer that does not read blocks its writer, on both loops, and a bounded amount is queued for it."""

from __future__ import annotations

import asyncio
import socket

from farhand_protocol import messages as m
from farhand_protocol.frames import Kind
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import WRITE_HIGH
from tests.support.pairs import frames, in_phase, message, text
from tests.support.transports import CHUNK, Recorder, attach, fill, on_each_loop, read_to_end, serving, sockets


@on_each_loop
async def test_a_peer_that_does_not_read_stops_the_writer_at_the_bound() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(serving(), recorder, ours)
        count = await fill(transport)
        assert count < 40
        assert transport.connection.queued <= WRITE_HIGH
        assert recorder.writables == 0
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.until(lambda: recorder.writables)
        assert transport.room
        transport.connection.send_data(1, "stdout", CHUNK)
        transport.flush()
        for _ in range(10):
            await asyncio.sleep(0)
        count += 1
        transport.close()
        assert len(frames(await reader)) == count
    await recorder.end()
    assert (recorder.writables, recorder.losses) == (1, [None])


@on_each_loop
async def test_unflushed_data_counts_as_queued() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(serving(), recorder, ours)
        count = 0
        while transport.room:
            transport.connection.send_data(1, "stdout", CHUNK)
            transport.flush_soon()
            count += 1
        assert WRITE_HIGH <= transport.connection.queued <= WRITE_HIGH + 2 * len(CHUNK)
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.until(lambda: recorder.writables)
        transport.close()
        assert len(frames(await reader)) == count
    assert recorder.writables == 1


@on_each_loop
async def test_messages_overtake_held_back_data_unless_they_are_ordered() -> None:
    ours, peer = sockets()
    recorder = Recorder()
    with peer:
        transport = await attach(serving(), recorder, ours)
        before = await fill(transport)
        for _ in range(3):
            transport.connection.send_data(1, "stdout", CHUNK)
        transport.connection.send(1, m.End(stream="stdout"))
        transport.connection.send(0, m.Ping(id=5))
        transport.flush()
        reader = asyncio.create_task(read_to_end(peer))
        await recorder.until(lambda: recorder.writables)
        transport.close()
        kinds = [frame.kind for frame in frames(await reader)]
    assert kinds == [Kind.STDOUT] * before + [Kind.MESSAGE] + [Kind.STDOUT] * 3 + [Kind.MESSAGE]


@on_each_loop
async def test_a_flooding_peer_that_reads_no_answers_is_not_read_from_until_it_does() -> None:
    ours, peer = sockets()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)  # or the kernel grows it to megabytes
    requests = 5_000
    bad = "{" + 300 * " "  # more than the kernel keeps is still unsent when the server stops reading
    refused = [text(number, bad) + message(number, m.Close()) for number in range(1, requests + 1)]
    loop = asyncio.get_running_loop()
    with peer:
        server = in_phase(Side.SERVER, Phase.READY)
        recorder = Recorder()
        await attach(server, recorder, ours)
        flood = asyncio.create_task(loop.sock_sendall(peer, b"".join(refused)))
        await recorder.until(lambda: server.flooded)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not flood.done()
        assert server.queued < server.limits.control + 1000
        answers = bytearray()
        while answers.count(b'{"type":"error"') < requests:
            answers += await loop.sock_recv(peer, 1 << 18)
        await flood
        recorder.transport.abort()
        await recorder.end()
    assert {frame.message.type for frame in frames(bytes(answers))} == {"error"}
