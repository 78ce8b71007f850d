"""Before login a client has little room and little time, and failing costs its source."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from farhand_server.config import EdgeSettings
from farhand_server.edge.login_verdicts import LoginVerdict
from tests.server.edge.harness import PATIENCE, Running, running_edge, until


async def _is_refused(edge: Running) -> bool:
    peer = await edge.connect_bare()
    try:
        async with asyncio.timeout(0.3):
            return await peer.reader.read(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        peer.close()


@pytest.mark.parametrize(
    "settings",
    [{"before_login_per_source": 2}, {"before_login": 2}, {"connections": 2}],
    indirect=True,
    ids=["per source", "before login", "in total"],
)
async def test_connection_beyond_a_limit_is_closed_and_room_is_there_again_afterwards(edge: Running) -> None:
    first, second = await edge.connect_bare(), await edge.connect_bare()
    await until(lambda: len(edge.edge.clients) == 2)
    assert await _is_refused(edge)
    first.close()
    second.close()
    await until(lambda: not edge.edge.clients)
    await edge.pair()


@pytest.mark.parametrize("settings", [{"before_login": 2}], indirect=True)
async def test_login_makes_room_for_others(edge: Running) -> None:
    for _ in range(4):
        await edge.pair()
        await until(lambda: all(not client.slot.before_login for client in edge.edge.clients))
    assert len(edge.edge.clients) == 4


@pytest.mark.parametrize("settings", [{"tls_deadline": 0.2, "penalty_threshold": 5.0}], indirect=True)
@pytest.mark.parametrize("first", [b"", b"\x16", bytes.fromhex("1603010200010001fc0303")])
async def test_handshake_that_dawdles_is_cut_and_its_source_shut_out(edge: Running, first: bytes) -> None:
    peer = await edge.connect_bare()
    await peer.send(first)
    assert await peer.ends() == b""
    assert await _is_refused(edge)


@pytest.mark.parametrize("settings", [{"login_deadline": 0.3}], indirect=True)
async def test_client_without_a_login_is_cut_and_one_with_a_login_is_not(edge: Running) -> None:
    logged_in, logged_in_core = await edge.pair()
    dawdling, dawdling_core = await edge.pair(verdict=None)
    assert await dawdling.ends() == b""
    assert await dawdling_core.ends() == b""
    await logged_in.send(b"still here")
    assert await logged_in_core.receive(10) == b"still here"


@pytest.mark.parametrize("settings", [{"penalty_no_login": 0.0}], indirect=True)
async def test_refused_logins_shut_a_source_out(edge: Running) -> None:
    for _ in range(4):
        client, core = await edge.pair(LoginVerdict.REFUSED)
        core.close()
        await client.ends()
        client.close()
    await until(lambda: not edge.edge.clients)
    async with asyncio.timeout(PATIENCE):
        while not await _is_refused(edge):
            pass


@pytest.mark.parametrize("settings", [{"penalty_no_login": 0.0, "penalty_threshold": 1.0}], indirect=True)
async def test_verdict_that_comes_after_the_end_still_counts(edge: Running) -> None:
    client, core = await edge.pair(verdict=None)
    core.close()
    await client.ends()
    client.close()
    await until(lambda: not edge.edge.clients)
    await edge.core.verdict(core, LoginVerdict.REFUSED)
    async with asyncio.timeout(PATIENCE):
        while not await _is_refused(edge):
            pass


@pytest.mark.parametrize("settings", [{"penalty_no_login": 16.0}], indirect=True)
async def test_garbage_instead_of_tls_costs_its_source(edge: Running) -> None:
    peer = await edge.connect_bare()
    await peer.send(b"GET / HTTP/1.1\r\n\r\n")
    await peer.ends()
    assert await _is_refused(edge)


@pytest.mark.parametrize("settings", [{"penalty_no_login": 16.0}], indirect=True)
async def test_client_that_leaves_before_its_login_costs_its_source(edge: Running) -> None:
    client, core = await edge.pair(verdict=None)
    client.close()
    await core.ends()
    assert await _is_refused(edge)


@pytest.mark.parametrize("settings", [{"penalty_no_login": 16.0}], indirect=True)
async def test_client_that_leaves_after_its_login_costs_its_source_nothing(edge: Running) -> None:
    for _ in range(3):
        client, _ = await edge.pair()
        await until(lambda: all(not client.slot.before_login for client in edge.edge.clients))
        client.close()
        await until(lambda: not edge.edge.clients)


async def test_without_a_core_clients_are_closed_after_tls_until_it_is_back(tmp_path: Path) -> None:
    async with running_edge(tmp_path, EdgeSettings(penalty_no_login=16.0), with_core=False) as edge:
        assert await (await edge.connect()).ends() == b""
        assert "the core is away" in edge.log.read_text()
        await edge.core.start()
        await edge.core_is_there()
        client, core = await edge.pair()
        edge.core.stop()
        assert await client.ends() == b""
        assert await core.ends() == b""
        await edge.core_is_there(False)
        await edge.core.start()
        await edge.core_is_there()
        await edge.pair()
        edge.core.stop()


@pytest.mark.parametrize("settings", [{"login_deadline": 0.3, "before_login": 1}], indirect=True)
async def test_client_whose_verdict_may_be_lost_is_left_to_the_core(edge: Running) -> None:
    client, core = await edge.pair(verdict=None)
    for feed in edge.core.feeds:
        feed.writer.transport.abort()
    edge.core.feeds.clear()
    await edge.core_is_there(False)
    await edge.core_is_there()
    # It neither takes a stranger's place nor runs into a stranger's deadline: another one does.
    other, _ = await edge.pair(verdict=None)
    assert await other.ends() == b""
    await client.send(b"still here")
    assert await core.receive(10) == b"still here"


async def test_feed_that_makes_no_sense_is_made_anew(edge: Running) -> None:
    await edge.core.feeds[0].send(bytes(16) + b"\x07")
    assert await edge.core.feeds[0].ends() == b""
    await until(lambda: len(edge.core.feeds) == 2)
    await edge.core_is_there()


@pytest.mark.parametrize("settings", [{"penalty_no_login": 0.0}], indirect=True)
async def test_connection_reset_before_it_is_accepted_disturbs_nobody(edge: Running) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", edge.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await edge.pair()
