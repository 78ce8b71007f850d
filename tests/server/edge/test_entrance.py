"""Penalties do not shut out who shows a ticket, and silence keeps nobody out."""

from __future__ import annotations

import asyncio
import os
import time
from ipaddress import IPv4Address

import pytest

from farhand_protocol import ALPN
from farhand_protocol.tickets import TICKET_NONCE_SIZE, IssuedTicket
from farhand_server.edge import arrivals
from farhand_server.listen.feed import FromCore, FromEdge, encode_record, encode_source
from farhand_server.tickets import TicketKey
from tests.server.edge.harness import TEST_TIMEOUT, RunningEdge, client_context, openssl_hello, until

KEY = TicketKey(b"k" * 16)
PENALTY = bytes.fromhex("15030300020231")


async def _give_key(edge: RunningEdge) -> None:
    for feed in edge.core.feeds:
        await feed.send(encode_record(FromCore.TICKET_KEY, KEY.key))
    # Records are handled in order, so a login that is known shows that the key is, too.
    client, _ = await edge.pair()
    await until(lambda: all(not connection.slot.before_login for connection in edge.edge.connections))
    client.close()
    await until(lambda: not edge.edge.connections)


async def _refused(edge: RunningEdge) -> bytes:
    peer = await edge.connect_bare()
    await peer.send(openssl_hello())
    return await peer.read_to_end()


def _ticket(key: TicketKey = KEY) -> str:
    return key.issue("alice", time.time()).protocol(os.urandom(TICKET_NONCE_SIZE))


async def _shut_out(edge: RunningEdge) -> None:
    """Let the source of all clients get a debt."""
    peer = await edge.connect_bare()
    await peer.send(b"GET / HTTP/1.1\r\n\r\n")
    await peer.read_to_end()
    assert await _refused(edge) == PENALTY


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_a_ticket_is_served_although_its_source_has_a_debt(edge: RunningEdge) -> None:
    await _give_key(edge)
    await _shut_out(edge)
    client = await edge.connect(client_context(ALPN, _ticket()))
    tls = client.writer.get_extra_info("ssl_object")
    assert tls.selected_alpn_protocol() == ALPN
    core = await edge.core.client()
    await edge.core.verdict(core, FromCore.LOGGED_IN)
    await client.send(b"hello")
    assert await core.receive(5) == b"hello"
    assert await _refused(edge) == PENALTY, "the source still has its debt"


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_a_ticket_that_fails_is_worth_nothing_any_more(edge: RunningEdge) -> None:
    await _give_key(edge)
    await _shut_out(edge)
    issued = KEY.issue("alice", time.time())
    client = await edge.connect(client_context(ALPN, issued.protocol(b"first...")))
    await edge.core.client()
    client.close()
    await until(lambda: not edge.edge.connections)
    peer = await edge.connect_bare()
    await peer.send(openssl_hello(ALPN, issued.protocol(b"second..")))
    assert await peer.read_to_end() == PENALTY


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
@pytest.mark.parametrize(
    "issued",
    [IssuedTicket(b"x" * 41, b"s" * 16), TicketKey(b"K" * 16).issue("alice", 0.0)],
    ids=["forged", "of another key"],
)
async def test_what_is_no_ticket_is_worth_nothing(edge: RunningEdge, issued: IssuedTicket) -> None:
    await _give_key(edge)
    await _shut_out(edge)
    peer = await edge.connect_bare()
    await peer.send(openssl_hello(ALPN, issued.protocol(bytes(8))))
    assert await peer.read_to_end() == PENALTY


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_the_first_bytes_of_a_client_cannot_be_used_again(edge: RunningEdge) -> None:
    await _give_key(edge)
    await _shut_out(edge)
    copied = openssl_hello(ALPN, _ticket())
    client = await edge.connect_bare()
    await client.send(copied)
    assert (await client.receive(1)) == b"\x16"  # the server's hello
    copy = await edge.connect_bare()
    await copy.send(copied)
    assert await copy.read_to_end() == PENALTY


async def test_a_client_that_shows_a_ticket_is_served_by_an_edge_without_a_key(edge: RunningEdge) -> None:
    client = await edge.connect(client_context(ALPN, _ticket()))
    assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == ALPN


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_the_core_learns_that_a_known_source_is_refused_and_of_no_other(edge: RunningEdge) -> None:
    await edge.core.feeds[0].receive(17)  # READS_ALL
    await _shut_out(edge)
    slot = next(iter([edge.edge.limiter.admit(IPv4Address("127.0.0.1"), 1e9)]))
    assert not isinstance(slot, str)
    edge.edge.limiter.logged_in(slot)
    edge.edge.limiter.release(slot)
    assert await _refused(edge) == PENALTY
    assert await _refused(edge) == PENALTY
    record = encode_record(FromEdge.REFUSING, encode_source(IPv4Address("127.0.0.1")))
    assert await edge.core.feeds[0].receive(17) == record
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await edge.core.feeds[0].reader.readexactly(1)


@pytest.mark.parametrize("settings", [{"before_login": 8, "before_login_per_source": 8}], indirect=True)
async def test_silent_connections_keep_nobody_out(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MAX_ARRIVALS", 20)
    silent = [await edge.connect_bare() for _ in range(30)]
    for _ in range(3):
        await edge.pair()
    assert all(peer.writer is not None for peer in silent)


@pytest.mark.parametrize("settings", [{"before_login": 4, "penalty_no_login": 0.0}], indirect=True)
async def test_a_connection_that_stalls_gives_its_place_to_the_next(edge: RunningEdge) -> None:
    edge.edge.limiter.random = lambda: 1.0  # drops nothing
    stalled = [await edge.connect_bare() for _ in range(4)]
    for peer in stalled:
        await peer.send(openssl_hello())
    await until(lambda: len(edge.edge.connections) == 4)
    await asyncio.sleep(0.5)
    await edge.pair()
    for peer in stalled:
        await peer.read_to_end()


@pytest.mark.parametrize(
    "settings", [{"login_deadline": 1.2, "tls_deadline": 1.0, "penalty_deadline": 60.0}], indirect=True
)
async def test_a_client_that_waits_for_a_core_that_stands_still_is_not_charged(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_server.edge.login_verdicts.CORE_STALL_TIME", 0.6)
    await edge.core.feeds[0].send(encode_record(FromCore.HEARTBEAT))
    client, core = await edge.pair(verdict=None)
    await client.send(b"hello")
    assert await core.receive(5) == b"hello"
    assert await client.read_to_end() == b""
    await edge.pair(verdict=None)
    # Now the core turns, and the client says nothing.
    async with asyncio.timeout(TEST_TIMEOUT):
        while edge.edge.connections:
            await edge.core.feeds[0].send(encode_record(FromCore.HEARTBEAT))
            await asyncio.sleep(0.05)
    assert await _refused(edge) == PENALTY
