"""Bytes go both ways unchanged, no faster than they are read, and an end on one side is an end on both."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading

import pytest

from farhand_server.edge.relay import BUFFER
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


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, BUFFER - 1, BUFFER, BUFFER + 1])
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
    assert 0 < held.waiting <= BUFFER
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


async def test_last_bytes_of_the_core_reach_the_client_before_the_end(edge: Running) -> None:
    last = os.urandom(1 << 20)
    talking, ended = threading.Event(), threading.Event()

    def client() -> bytes:
        received = bytearray()
        with edge.connect_blocking() as tls:
            # What the client has sent, and nobody reads, must not turn the end into a reset.
            tls.sendall(bytes(1 << 16))
            talking.set()
            ended.wait(PATIENCE)
            while data := tls.recv(1 << 16):
                received += data
        return bytes(received)

    received = asyncio.create_task(asyncio.to_thread(client))
    core = await edge.core.client()
    await asyncio.to_thread(talking.wait, PATIENCE)
    await core.send(last)
    core.close()
    ended.set()
    assert await received == last
    await until(lambda: not edge.edge.clients)


async def test_core_that_stops_reading_and_ends_has_its_last_word(edge: Running) -> None:
    client, core = await edge.pair()
    await core.send(b"refused, because")
    core.close()
    for _ in range(64):
        client.writer.write(bytes(1 << 14))
    assert await client.ends() == b"refused, because"


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
