"""An edge is told, once for each of its clients, who has logged in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from farhand_server.listen.clients import VERDICT_LOGGED_IN, VERDICT_REFUSED, VerdictFeeds

PATIENCE = 10.0
RECORDS = 30_000  # 510 kB: more than a socket's buffer and a transport's together


@contextlib.asynccontextmanager
async def fed(feeds: VerdictFeeds) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The edge's end of a feed."""
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.set_protocol(feeds.protocol(transport))
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield reader, writer
    finally:
        writer.close()
        transport.abort()
        await asyncio.sleep(0)


async def test_every_edge_is_told_of_a_login_and_of_a_refusal() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (one, _), fed(feeds) as (two, _), asyncio.timeout(PATIENCE):
        feeds.verdict(b"a" * 16)(True)
        feeds.verdict(b"b" * 16)(False)
        for reader in (one, two):
            assert await reader.readexactly(34) == b"a" * 16 + VERDICT_LOGGED_IN + b"b" * 16 + VERDICT_REFUSED


async def test_a_verdict_is_said_once() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (reader, _), asyncio.timeout(PATIENCE):
        say = feeds.verdict(b"a" * 16)
        say(True)
        say(False)
        feeds.close()
        assert await reader.read() == b"a" * 16 + VERDICT_LOGGED_IN


async def test_an_edge_that_has_gone_is_forgotten() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (reader, _), asyncio.timeout(PATIENCE):
        async with fed(feeds) as (_, writer):
            writer.close()
        feeds.verdict(b"a" * 16)(True)
        assert await reader.readexactly(17)


async def test_an_edge_that_does_not_read_is_cut_off() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (reader, writer), asyncio.timeout(PATIENCE):
        transport = writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        for number in range(RECORDS):
            feeds.verdict(number.to_bytes(16, "big"))(True)
        transport.resume_reading()
        assert len(await reader.read()) < RECORDS * 17
