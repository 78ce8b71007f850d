"""Connections before login are limited in number and time, and failures are charged to their source."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from pathlib import Path

import pytest

from farhand_server.config import EdgeSettings
from farhand_server.edge import connection as connection_module
from farhand_server.edge.limiter import Failure, Slot
from farhand_server.edge.tls import TLSStream
from farhand_server.listen.feed import FromCore, FromEdge, encode_record
from farhand_server.loopwatch import HOLD_LIMIT, ProcessorWait
from tests.server.edge.harness import TEST_TIMEOUT, RunningEdge, openssl_hello, running_edge, until

PENALTY, TOO_MANY = bytes.fromhex("15030300020231"), bytes.fromhex("15030300020250")
"""TLS records with the fatal alerts access_denied and internal_error."""

SERVER_HELLO = b"\x16"
"""The first byte of what a client receives that is not refused: a record of the handshake."""


async def _is_refused(edge: RunningEdge, alert: bytes = PENALTY) -> bool:
    hello = openssl_hello()
    peer = await edge.connect_bare()
    try:
        await peer.send(hello)
        if (first := await peer.receive(1)) == SERVER_HELLO:
            return False
        assert first + await peer.read_to_end() == alert
        return True
    finally:
        peer.close()


@pytest.mark.parametrize(
    "settings",
    [{"before_login_per_source": 2}, {"before_login": 2}, {"connections": 2}],
    indirect=True,
    ids=["per source", "before login", "in total"],
)
async def test_a_connection_above_a_limit_is_refused_until_others_have_ended(edge: RunningEdge) -> None:
    first, second = await edge.connect_bare(), await edge.connect_bare()
    await first.send(openssl_hello())
    await second.send(openssl_hello())
    await until(lambda: len(edge.edge.connections) == 2)
    assert await _is_refused(edge, TOO_MANY)
    first.close()
    second.close()
    await until(lambda: not edge.edge.connections)
    await edge.pair()


@pytest.mark.parametrize("settings", [{"before_login": 2}], indirect=True)
async def test_a_login_frees_the_place_before_login(edge: RunningEdge) -> None:
    for _ in range(4):
        await edge.pair()
        await until(lambda: all(not connection.slot.before_login for connection in edge.edge.connections))
    assert len(edge.edge.connections) == 4


@pytest.mark.parametrize("settings", [{"tls_deadline": 0.2, "penalty_threshold": 0.5}], indirect=True)
@pytest.mark.parametrize(
    "first",
    [b"", b"\x16", bytes.fromhex("1603010200010001fc0303"), openssl_hello()],
    ids=["silent", "a byte", "a part", "a hello"],
)
async def test_a_slow_handshake_is_closed_and_its_source_refused(edge: RunningEdge, first: bytes) -> None:
    peer = await edge.connect_bare()
    await peer.send(first)
    await peer.read_to_end()
    assert await _is_refused(edge)


@pytest.mark.parametrize("settings", [{"login_deadline": 1.0}], indirect=True)
async def test_only_a_connection_without_login_is_closed_at_the_deadline(edge: RunningEdge) -> None:
    logged_in, logged_in_core = await edge.pair()
    slow, slow_core = await edge.pair(verdict=None)
    assert await slow.read_to_end() == b""
    assert await slow_core.read_to_end() == b""
    await logged_in.send(b"still here")
    assert await logged_in_core.receive(10) == b"still here"


@pytest.mark.parametrize("settings", [{"tls_deadline": 1.0}], indirect=True)
async def test_a_connection_that_had_to_give_up_its_place_is_charged_once(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[Slot] = []
    monkeypatch.setattr(edge.edge.limiter, "penalise", lambda slot, *_: charged.append(slot))
    for evicted in (True, False):
        peer = await edge.connect_bare()
        await peer.send(openssl_hello())
        await until(lambda: len(edge.edge.connections) == 1)
        (connection,) = edge.edge.connections
        if evicted:
            connection.evict()
        await peer.read_to_end()  # the deadline of the second is later than that of the first would be
        assert not edge.edge.connections
    assert len(charged) == 2


async def test_a_connection_that_the_kernel_has_no_memory_for_keeps_no_place_and_is_not_charged(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[Failure] = []
    monkeypatch.setattr(edge.edge.limiter, "penalise", lambda slot, failure, now: charged.append(failure))

    def fail(*_: object) -> TLSStream:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with monkeypatch.context() as patch:
        patch.setattr(connection_module, "TLSStream", fail)
        peer = await edge.connect_bare()
        await peer.send(openssl_hello())
        await peer.read_to_end()
    assert "Cannot allocate memory" in edge.log.read_text()
    assert (edge.edge.connections, edge.edge.limiter.open, charged) == (set(), 0, [])
    await edge.pair()


async def test_a_client_that_the_core_has_dismissed_gives_up_its_place_at_no_charge(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[Failure] = []
    monkeypatch.setattr(edge.edge.limiter, "penalise", lambda slot, failure, now: charged.append(failure))
    with await asyncio.to_thread(edge.connect_blocking) as client:  # it does not close when the edge does
        core = await edge.core.client()
        await edge.core.verdict(core, FromCore.REFUSED)
        core.close()
        assert await asyncio.to_thread(client.recv, 1) == b""
        (connection,) = edge.edge.connections
        assert connection.slot.before_login, "it has no place to give up"
        connection.evict()
        assert not edge.edge.connections
    await until(lambda: Failure.REFUSED in charged)
    assert charged == [Failure.REFUSED]


@pytest.mark.parametrize("settings", [{"penalty_no_login": 0.0, "penalty_refused": 14.0}], indirect=True)
async def test_a_source_is_refused_after_refused_logins(edge: RunningEdge) -> None:
    for _ in range(2):
        client, core = await edge.pair(FromCore.REFUSED)
        core.close()
        await client.read_to_end()
        client.close()
    await until(lambda: not edge.edge.connections)
    async with asyncio.timeout(TEST_TIMEOUT):
        while not await _is_refused(edge):
            pass


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_a_tls_client_is_told_of_its_penalty_by_an_alert(edge: RunningEdge) -> None:
    peer = await edge.connect_bare()
    await peer.send(b"GET / HTTP/1.1\r\n\r\n")
    await peer.read_to_end()
    with pytest.raises(ssl.SSLError, match="ALERT_ACCESS_DENIED"):
        await edge.connect()


@pytest.mark.parametrize("settings", [{"penalty_no_login": 0.0, "penalty_refused": 30.0}], indirect=True)
async def test_a_verdict_that_arrives_after_the_end_still_counts(edge: RunningEdge) -> None:
    client, core = await edge.pair(verdict=None)
    core.close()
    await client.read_to_end()
    client.close()
    await until(lambda: not edge.edge.connections)
    await edge.core.verdict(core, FromCore.REFUSED)
    async with asyncio.timeout(TEST_TIMEOUT):
        while not await _is_refused(edge):
            pass


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_garbage_instead_of_tls_is_charged_to_its_source(edge: RunningEdge) -> None:
    peer = await edge.connect_bare()
    await peer.send(b"GET / HTTP/1.1\r\n\r\n")
    await peer.read_to_end()
    assert await _is_refused(edge)


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_a_client_that_closes_before_login_is_charged_to_its_source(edge: RunningEdge) -> None:
    client, core = await edge.pair(verdict=None)
    client.close()
    await core.read_to_end()
    assert await _is_refused(edge)


@pytest.mark.parametrize("settings", [{"penalty_no_login": 60.0}], indirect=True)
async def test_a_client_that_closes_after_login_is_not_charged(edge: RunningEdge) -> None:
    for _ in range(3):
        client, _ = await edge.pair()
        await until(lambda: all(not connection.slot.before_login for connection in edge.edge.connections))
        client.close()
        await until(lambda: not edge.edge.connections)


async def test_without_a_core_clients_are_closed_after_tls_until_it_is_back(tmp_path: Path) -> None:
    async with running_edge(tmp_path, EdgeSettings(penalty_no_login=60.0), with_core=False) as edge:
        assert await (await edge.connect()).read_to_end() == b""
        assert "not connected to the core" in edge.log.read_text()
        await edge.core.start()
        await edge.core_connected()
        client, core = await edge.pair()
        edge.core.stop()
        assert await client.read_to_end() == b""
        assert await core.read_to_end() == b""
        await edge.core_connected(False)
        await edge.core.start()
        await edge.core_connected()
        await edge.pair()
        edge.core.stop()


@pytest.mark.parametrize("settings", [{"login_deadline": 1.0, "before_login": 1}], indirect=True)
async def test_a_connection_whose_verdict_may_be_lost_is_left_to_the_core(edge: RunningEdge) -> None:
    client, core = await edge.pair(verdict=None)
    for feed in edge.core.feeds:
        feed.writer.transport.abort()
    edge.core.feeds.clear()
    await edge.core_connected(False)
    await edge.core_connected()
    # It no longer counts as before login and has no deadline; another connection does.
    other, _ = await edge.pair(verdict=None)
    assert await other.read_to_end() == b""
    await client.send(b"still here")
    assert await core.receive(10) == b"still here"


async def test_a_feed_with_an_unknown_verdict_is_closed_and_opened_again(edge: RunningEdge) -> None:
    await edge.core.feeds[0].send(bytes(16) + b"\x07")
    assert await edge.core.feeds[0].read_to_end() == encode_record(FromEdge.READS_ALL)
    await until(lambda: len(edge.core.feeds) == 2)
    await edge.core_connected()


@pytest.mark.parametrize("settings", [{"penalty_no_login": 0.0}], indirect=True)
async def test_a_connection_reset_before_it_is_accepted_affects_no_other(edge: RunningEdge) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", edge.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await edge.pair()


async def test_what_holds_the_edges_loop_is_logged_with_the_peer(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_into = TLSStream.read_into

    def slow(self: TLSStream, buffer: memoryview) -> int | None:
        time.sleep(6 * HOLD_LIMIT)  # as OpenSSL would, if a client found a way; time enough for a look at the stack
        return read_into(self, buffer)

    client, core = await edge.pair()
    monkeypatch.setattr(ProcessorWait, "seconds", lambda self: 0.0)  # a busy machine does not count
    monkeypatch.setattr(TLSStream, "read_into", slow)
    edge.edge.watch.start()
    await client.send(b"x")
    await core.receive(1)
    edge.edge.watch.close()
    assert edge.edge.watch.holds.times
    assert 'msg="the loop was held" peer=127.0.0.1' in edge.log.read_text()
    assert "handler=relay" in edge.log.read_text()
