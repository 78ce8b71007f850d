"""Bytes are copied both ways unchanged, no faster than they are read; the end of one side ends both."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import ssl
import threading
import time

import pytest

from farhand_server.edge.relay import RELAY_BUFFER, HangupWatch, Relay
from farhand_server.edge.streams import PlainStream
from tests.server.edge.harness import TEST_TIMEOUT, Peer, RunningEdge, until

BOUND = 64 << 20
"""Bytes, more than the sockets of both hops and the edge can hold: Linux's largest default TCP buffer is 32 MiB."""


async def _stream(source: Peer, sink: Peer, size: int) -> None:
    data = os.urandom(1 << 20) * (size >> 20)
    received = hashlib.sha256()

    async def take() -> None:
        left = size
        while left:
            chunk = await sink.receive(min(left, 1 << 16))
            received.update(chunk)
            left -= len(chunk)

    await asyncio.gather(source.send(data), take())
    assert received.digest() == hashlib.sha256(data).digest()


async def test_the_header_names_both_ends_and_bytes_follow_it(edge: RunningEdge) -> None:
    client, core = await edge.pair()
    source, destination = core.header.source, core.header.destination
    assert source is not None
    assert destination is not None
    assert (str(source[0]), source[1]) == client.writer.get_extra_info("sockname")
    assert (str(destination[0]), destination[1]) == ("127.0.0.1", edge.port)
    assert core.header.unique_id is not None
    await client.send(b"to the core")
    assert await core.receive(11) == b"to the core"
    await core.send(b"to the client")
    assert await client.receive(13) == b"to the client"


async def test_much_data_both_ways_at_once_arrives_unchanged(edge: RunningEdge) -> None:
    client, core = await edge.pair()
    async with asyncio.timeout(30):
        await asyncio.gather(_stream(client, core, 32 << 20), _stream(core, client, 32 << 20))


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, RELAY_BUFFER - 1, RELAY_BUFFER, RELAY_BUFFER + 1])
async def test_sizes_around_a_record_and_a_buffer_arrive_complete(edge: RunningEdge, size: int) -> None:
    client, core = await edge.pair()
    data = os.urandom(size)
    for source, sink in ((client, core), (core, client)):
        await source.send(data)
        assert await sink.receive(size) == data


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_peer_that_does_not_read_stops_the_writer_while_the_edge_holds_at_most_a_buffer(
    edge: RunningEdge, direction: str
) -> None:
    client, core = await edge.pair()
    source, sink = (client, core) if direction == "up" else (core, client)
    sent = await source.fill(BOUND)
    (held,) = edge.edge.connections
    assert 0 < held.buffered <= RELAY_BUFFER
    # It does not spin over data that it cannot pass on.
    before = time.process_time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await source.writer.drain()
    assert time.process_time() - before < 0.25
    # The other direction continues.
    await sink.send(b"still here")
    assert await source.receive(10) == b"still here"
    # Nothing is lost once the peer reads again.
    async with asyncio.timeout(30):
        left = sent
        while left:
            left -= len(await sink.receive(min(left, 1 << 16)))
    await source.send(b"more")
    assert await sink.receive(4) == b"more"


async def test_the_last_bytes_of_the_core_reach_a_client_whose_bytes_were_not_read(edge: RunningEdge) -> None:
    last = os.urandom(1 << 20)
    stuck, ended = threading.Event(), threading.Event()

    def client() -> bytes:
        received = bytearray()
        with edge.connect_blocking() as tls:
            tls.settimeout(0.3)
            with pytest.raises(TimeoutError):
                tls.sendall(bytes(BOUND))
            tls.settimeout(TEST_TIMEOUT)
            stuck.set()
            ended.wait(TEST_TIMEOUT)
            while data := tls.recv(1 << 16):
                received += data
        return bytes(received)

    received = asyncio.create_task(asyncio.to_thread(client))
    core = await edge.core.client()
    await asyncio.to_thread(stuck.wait, TEST_TIMEOUT)
    core.writer.write(last)
    core.close()
    await core.read_to_end()
    ended.set()
    # A close with unread bytes would have been a reset, which discards what the client has not read yet.
    assert await received == last
    await until(lambda: not edge.edge.connections)


async def test_the_last_bytes_of_a_core_are_delivered_even_if_writing_to_it_fails() -> None:
    loop = asyncio.get_running_loop()
    client, client_side = socket.socketpair()
    core, core_side = socket.socketpair()
    with client, client_side, core, core_side, contextlib.closing(HangupWatch(loop)) as hangups:
        for sock in (client_side, core_side):
            sock.setblocking(False)
        ended: asyncio.Future[tuple[str, OSError | None]] = loop.create_future()
        relay = Relay(
            loop,
            hangups,
            PlainStream(client_side),
            PlainStream(core_side),
            flush=TEST_TIMEOUT,
            on_end=lambda side, error: ended.set_result((side, error)),
        )
        relay.start()
        # All of this happens before the relay runs: its write to the core fails before it reads the last bytes.
        client.send(b"and another thing")
        core.send(b"refused, because")
        core.close()
        async with asyncio.timeout(TEST_TIMEOUT):
            assert await ended == ("core", None)
        assert client.recv(100) == b"refused, because"


async def test_a_close_notify_right_after_a_whole_record_is_an_end(edge: RunningEdge) -> None:
    task = asyncio.create_task(asyncio.to_thread(edge.connect_blocking))
    core = await edge.core.client()
    with await task as tls:
        tls.setblocking(False)
        # The edge runs in this loop, so it receives record and close_notify together, and no FIN.
        tls.send(bytes(16384))
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        assert await core.read_to_end() == bytes(16384)


async def test_the_last_bytes_of_the_client_reach_the_core_before_the_end(edge: RunningEdge) -> None:
    client, core = await edge.pair()
    last = os.urandom(1 << 20)
    client.writer.write(last)
    client.close()
    assert await core.read_to_end() == last
    await until(lambda: not edge.edge.connections)


async def test_a_reset_by_the_client_ends_the_connection_to_the_core(edge: RunningEdge) -> None:
    client, core = await edge.pair()
    client.reset()
    assert await core.read_to_end() == b""
    await until(lambda: not edge.edge.connections)


async def test_an_abort_by_the_core_ends_the_connection_to_the_client(edge: RunningEdge) -> None:
    client, core = await edge.pair()
    core.writer.transport.abort()
    assert await client.read_to_end() == b""


@pytest.mark.parametrize("settings", [{"flush": 0.2}], indirect=True)
async def test_a_client_that_does_not_read_is_closed_soon_after_its_core_has_ended(edge: RunningEdge) -> None:
    _, core = await edge.pair()
    await core.fill(BOUND)
    core.writer.transport.abort()
    await until(lambda: not edge.edge.connections)


@pytest.mark.parametrize("settings", [{"flush": 0.2}], indirect=True)
async def test_a_vanished_client_is_noticed_while_the_core_does_not_read(edge: RunningEdge) -> None:
    client, _ = await edge.pair()
    await client.fill(BOUND)
    client.reset()
    await until(lambda: not edge.edge.connections)


@pytest.mark.parametrize("settings", [{"linger": 0.2}], indirect=True)
async def test_a_client_that_does_not_end_after_the_core_is_closed_after_the_linger_time(edge: RunningEdge) -> None:
    client, core = await edge.pair()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as WriteTransport
    core.close()
    await until(lambda: not edge.edge.connections)
