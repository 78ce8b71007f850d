"""Edges are notified of logins, and learn the key of tickets; the core learns which sources they refuse."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

from farhand_server.listen.feed import FromCore, FromEdge, encode_record, encode_source
from farhand_server.listen.feeds import VerdictFeeds
from farhand_server.sources import Source
from farhand_server.tickets import TicketKey
from tests.support.feeds import fed

TIMEOUT = 10.0
RECORDS = 8_000  # 136 kB: more than a socket's smallest buffer and a transport's buffer together
LOGGED_IN = encode_record(FromCore.LOGGED_IN, b"a" * 16)


async def test_every_edge_is_notified_of_a_login_and_of_a_refusal() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (one, _), fed(feeds) as (two, _), asyncio.timeout(TIMEOUT):
        feeds.verdict(b"a" * 16)(True)
        feeds.verdict(b"b" * 16)(False)
        for reader in (one, two):
            assert await reader.readexactly(34) == LOGGED_IN + encode_record(FromCore.REFUSED, b"b" * 16)


async def test_a_verdict_is_sent_only_once() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (reader, _), asyncio.timeout(TIMEOUT):
        say = feeds.verdict(b"a" * 16)
        say(True)
        say(False)
        feeds.close()
        assert await reader.read() == LOGGED_IN


async def test_a_disconnected_edge_gets_no_verdicts() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (reader, _), asyncio.timeout(TIMEOUT):
        async with fed(feeds) as (_, writer):
            writer.close()
        feeds.verdict(b"a" * 16)(True)
        assert await reader.readexactly(17)


async def test_an_edge_that_does_not_read_is_disconnected() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (reader, writer), asyncio.timeout(TIMEOUT):
        transport = writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        for number in range(RECORDS):
            feeds.verdict(number.to_bytes(16, "big"))(True)
        transport.resume_reading()
        assert len(await reader.read()) < RECORDS * 17


async def test_an_edge_that_reads_all_gets_the_ticket_key_and_heartbeats_and_an_older_one_does_not() -> None:
    feeds = VerdictFeeds(TicketKey(b"k" * 16))
    async with fed(feeds) as (older, _), fed(feeds) as (reader, writer), asyncio.timeout(TIMEOUT):
        writer.write(encode_record(FromEdge.READS_ALL))
        key, heartbeat = encode_record(FromCore.TICKET_KEY, b"k" * 16), encode_record(FromCore.HEARTBEAT)
        assert await reader.readexactly(51) == key + heartbeat + heartbeat
        feeds.verdict(b"a" * 16)(True)
        feeds.close()
        assert await older.read() == LOGGED_IN
        assert LOGGED_IN in await reader.read()


async def test_the_core_learns_which_sources_an_edge_refuses() -> None:
    refused: asyncio.Queue[Source] = asyncio.Queue()
    feeds = VerdictFeeds(None, refused.put_nowait)
    async with fed(feeds) as (_, writer), asyncio.timeout(TIMEOUT):
        record = encode_record(FromEdge.REFUSING, encode_source(IPv4Address("192.0.2.1")))
        writer.write(record[:5])
        await writer.drain()
        writer.write(record[5:])
        assert await refused.get() == IPv4Address("192.0.2.1")


async def test_an_edge_that_writes_an_unknown_record_is_disconnected() -> None:
    feeds = VerdictFeeds()
    async with fed(feeds) as (reader, writer), asyncio.timeout(TIMEOUT):
        writer.write(bytes(16) + b"\xff")
        assert await reader.read() == b""
