"""The feed reports the key of tickets, notices that the core stands still, and reports refused sources sparingly."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from farhand_server.edge import login_verdicts
from farhand_server.listen.feed import FromCore, FromEdge, encode_record, encode_source
from tests.server.edge.harness import RunningEdge, until

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
HEARTBEAT = encode_record(FromCore.HEARTBEAT)


async def test_a_core_that_writes_no_heartbeats_is_never_said_to_stand_still(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_verdicts, "CORE_STALL_TIME", 0.0)
    await edge.pair()
    await asyncio.sleep(0.01)
    assert not edge.edge.verdict_feed.core_stood_still(0.0)


async def test_a_core_stands_still_while_no_record_comes(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    feed, loop = edge.edge.verdict_feed, asyncio.get_running_loop()
    monkeypatch.setattr(login_verdicts, "CORE_STALL_TIME", 0.5)
    await edge.core.feeds[0].send(HEARTBEAT)
    before = loop.time()
    await until(lambda: feed.core_stood_still(before))
    # It turns again: what began before that had to wait, and what begins after does not.
    await edge.core.feeds[0].send(HEARTBEAT)
    await until(lambda: not feed.core_stood_still(loop.time()))
    assert feed.core_stood_still(before)


async def test_a_source_is_reported_once_in_a_while(edge: RunningEdge) -> None:
    feed = edge.edge.verdict_feed
    assert await edge.core.feeds[0].receive(17) == encode_record(FromEdge.READS_ALL)
    for _ in range(3):
        feed.report_refused(A)
    feed.report_refused(B)
    for source in (A, B):
        assert await edge.core.feeds[0].receive(17) == encode_record(FromEdge.REFUSING, encode_source(source))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await edge.core.feeds[0].reader.readexactly(1)


async def test_without_a_core_nothing_is_reported(edge: RunningEdge) -> None:
    edge.core.stop()
    await edge.core_connected(False)
    edge.edge.verdict_feed.report_refused(A)
    await edge.core.start()
    await edge.core_connected()
    await edge.core.feed_connected.wait()
    assert await edge.core.feeds[0].receive(17) == encode_record(FromEdge.READS_ALL)
    edge.edge.verdict_feed.report_refused(A)
    assert await edge.core.feeds[0].receive(17) == encode_record(FromEdge.REFUSING, encode_source(A))
    edge.core.stop()
