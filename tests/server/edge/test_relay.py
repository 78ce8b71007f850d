"""Bytes go both ways unchanged, no faster than they are read, and an end on one side is an end on both."""

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
from farhand_server.edge.streams import TLS_RECORD_SIZE, PlainStream
from tests.server.edge.harness import PATIENCE, Peer, Running, until

BOUND = 64 << 20
"""More than the sockets of both hops and the edge can hold: the largest TCP buffer of Linux's defaults is 32 MiB."""


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


async def test_header_names_both_ends_and_bytes_follow_it(edge: Running) -> None:
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


async def test_much_goes_up_and_down_at_once_unchanged(edge: Running) -> None:
    client, core = await edge.pair()
    async with asyncio.timeout(30):
        await asyncio.gather(_stream(client, core, 32 << 20), _stream(core, client, 32 << 20))


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, RELAY_BUFFER - 1, RELAY_BUFFER, RELAY_BUFFER + 1])
async def test_sizes_about_a_record_and_a_buffer_arrive_whole(edge: Running, size: int) -> None:
    client, core = await edge.pair()
    data = os.urandom(size)
    for source, sink in ((client, core), (core, client)):
        await source.send(data)
        assert await sink.receive(size) == data


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_who_does_not_read_stops_who_writes_while_the_edge_holds_a_buffer_at_most(
    edge: Running, direction: str
) -> None:
    client, core = await edge.pair()
    source, sink = (client, core) if direction == "up" else (core, client)
    sent = await source.fill(BOUND)
    (held,) = edge.edge.clients
    assert 0 < held.waiting <= RELAY_BUFFER
    # Nor does it burn time over what it cannot pass on.
    before = time.process_time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await source.writer.drain()
    assert time.process_time() - before < 0.25
    # The other way goes on.
    await sink.send(b"still here")
    assert await source.receive(10) == b"still here"
    # And nothing is lost once it reads again.
    async with asyncio.timeout(30):
        left = sent
        while left:
            left -= len(await sink.receive(min(left, 1 << 16)))
    await source.send(b"more")
    assert await sink.receive(4) == b"more"


async def test_last_bytes_of_the_core_reach_a_client_whose_own_nobody_has_read(edge: Running) -> None:
    last = os.urandom(1 << 20)
    stuck, ended = threading.Event(), threading.Event()

    def client() -> bytes:
        received = bytearray()
        with edge.connect_blocking() as tls:
            tls.settimeout(0.3)
            with pytest.raises(TimeoutError):
                tls.sendall(bytes(BOUND))
            tls.settimeout(PATIENCE)
            stuck.set()
            ended.wait(PATIENCE)
            while data := tls.recv(1 << 16):
                received += data
        return bytes(received)

    received = asyncio.create_task(asyncio.to_thread(client))
    core = await edge.core.client()
    await asyncio.to_thread(stuck.wait, PATIENCE)
    core.writer.write(last)
    core.close()
    await core.ends()
    ended.set()
    # A close with bytes unread would have been a reset, which takes from the client what it has not read.
    assert await received == last
    await until(lambda: not edge.edge.clients)


async def test_core_that_ends_while_the_client_still_talks_has_its_last_word() -> None:
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
            flush=PATIENCE,
            ended=lambda side, error: ended.set_result((side, error)),
        )
        relay.start()
        # All of it happens before the relay looks: its write to the core fails before it has read the last word.
        client.send(b"and another thing")
        core.send(b"refused, because")
        core.close()
        async with asyncio.timeout(PATIENCE):
            assert await ended == ("core", None)
        assert client.recv(100) == b"refused, because"


async def test_close_notify_right_behind_a_whole_record_is_an_end(edge: Running) -> None:
    task = asyncio.create_task(asyncio.to_thread(edge.connect_blocking))
    core = await edge.core.client()
    with await task as tls:
        tls.setblocking(False)
        # The edge's loop is this one: it finds record and close_notify together, and no FIN.
        tls.send(bytes(TLS_RECORD_SIZE))
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
        assert await core.ends() == bytes(TLS_RECORD_SIZE)


async def test_last_bytes_of_the_client_reach_the_core_before_the_end(edge: Running) -> None:
    client, core = await edge.pair()
    last = os.urandom(1 << 20)
    client.writer.write(last)
    client.close()
    assert await core.ends() == last
    await until(lambda: not edge.edge.clients)


async def test_client_that_resets_ends_the_core_side(edge: Running) -> None:
    client, core = await edge.pair()
    client.reset()
    assert await core.ends() == b""
    await until(lambda: not edge.edge.clients)


async def test_core_that_aborts_ends_the_client_side(edge: Running) -> None:
    client, core = await edge.pair()
    core.writer.transport.abort()
    assert await client.ends() == b""


@pytest.mark.parametrize("settings", [{"flush": 0.2}], indirect=True)
async def test_client_that_takes_nothing_does_not_outlive_its_core_for_long(edge: Running) -> None:
    _, core = await edge.pair()
    await core.fill(BOUND)
    core.writer.transport.abort()
    await until(lambda: not edge.edge.clients)


@pytest.mark.parametrize("settings", [{"flush": 0.2}], indirect=True)
async def test_client_that_vanishes_is_noticed_while_the_core_reads_nothing(edge: Running) -> None:
    client, _ = await edge.pair()
    await client.fill(BOUND)
    client.reset()
    await until(lambda: not edge.edge.clients)


@pytest.mark.parametrize("settings", [{"linger": 0.2}], indirect=True)
async def test_client_that_does_not_end_after_the_core_is_waited_for_only_so_long(edge: Running) -> None:
    client, core = await edge.pair()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as WriteTransport
    core.close()
    await until(lambda: not edge.edge.clients)
