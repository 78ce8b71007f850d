"""Connections are kept for who asks for the same, as long as they may be used, and not without bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from farhand_client.helper import pool as pool_module
from farhand_client.helper.pool import ConnectionPool, KeptConnection
from farhand_client.mux.request import ConnectionRequest
from farhand_protocol.features import LOST_CHANNEL
from tests.support.client import TIMEOUT
from tests.support.fake_service import FakeService

Until = Callable[[Callable[[], object]], "asyncio.Future[None]"]


class WatchedPool(ConnectionPool):
    """A pool whose changes can be awaited."""

    def __init__(self, idle_time: float) -> None:
        self._happened = asyncio.Event()
        super().__init__(idle_time, self._happened.set)

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not true():
                await self._happened.wait()
                self._happened.clear()

    async def kept(self, request: ConnectionRequest) -> KeptConnection:
        """Offer a connection, wait for the end of the attempt and return it."""
        self.offer(request)
        await self.until(lambda: not self.dialling)
        found = self.find(request)
        assert found is not None
        return found


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeService]:
    service = FakeService()
    service.features = (LOST_CHANNEL,)
    async with service.on_socket(tmp_path) as serving:
        yield serving


@pytest.fixture
async def pool() -> AsyncIterator[WatchedPool]:
    made = WatchedPool(60.0)
    yield made
    made.close()


def request(fake: FakeService, user: bytes = b"") -> ConnectionRequest:
    return ConnectionRequest(socket=fake.host.removeprefix("unix:").encode(), user=user)


async def test_a_connection_that_was_offered_is_found_by_who_asks_for_the_same(
    fake: FakeService, pool: WatchedPool
) -> None:
    assert pool.find(request(fake)) is None
    kept = await pool.kept(request(fake))
    assert (kept.target, kept.user) == (fake.host, "ann")
    assert pool.find(request(fake, b"bob")) is None
    pool.offer(request(fake))
    assert pool.dialling == 0, "there is one"
    assert len(fake.connections) == 1


async def test_a_connection_that_is_lost_is_forgotten(fake: FakeService, pool: WatchedPool) -> None:
    await pool.kept(request(fake))
    fake.connections[0].cut()
    await pool.until(lambda: not list(pool))
    assert pool.find(request(fake)) is None


async def test_a_connection_to_a_socket_that_was_replaced_is_not_used(
    fake: FakeService, pool: WatchedPool, tmp_path: Path
) -> None:
    await pool.kept(request(fake))
    (tmp_path / "fake.sock").unlink()
    assert pool.find(request(fake)) is None
    assert not list(pool)


async def test_a_connection_is_lent_for_a_limited_time_as_its_key_may_no_longer_be_accepted(
    fake: FakeService, pool: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await pool.kept(request(fake))
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: kept.lent_until)
    assert pool.find(request(fake)) is None
    assert not list(pool)
    assert 0 < pool_module.MAX_LENT_TIME <= 60


async def test_what_cannot_be_connected_to_is_not_tried_again_at_once(
    fake: FakeService, pool: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.features = ()  # it cannot be shared
    pool.offer(request(fake))
    await pool.until(lambda: not pool.dialling)
    pool.offer(request(fake))
    assert pool.dialling == 0
    assert not list(pool)
    monkeypatch.setattr(pool_module, "MAX_REMEMBERED_FAILURES", 1)
    pool.offer(request(fake, b"bob"))
    await pool.until(lambda: not pool.dialling)
    fake.features = (LOST_CHANNEL,)
    await pool.kept(request(fake))


async def test_the_longest_unused_connection_makes_room_for_another(
    fake: FakeService, pool: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_CONNECTIONS", 2)
    for user in (b"a", b"b", b"c"):
        await pool.kept(request(fake, user))
    assert [kept.request.user for kept in pool] == [b"b", b"c"]
    for kept in pool:
        kept.upstream.callers.add(object())  # type: ignore[arg-type]  # a caller is not asked for anything
    pool.offer(request(fake, b"d"))
    assert pool.dialling == 0, "all are in use"
    for kept in pool:
        kept.upstream.callers.clear()


async def test_a_connection_that_nobody_uses_is_closed(fake: FakeService) -> None:
    pool = WatchedPool(0.01)
    pool.offer(request(fake))
    await pool.until(lambda: not pool.dialling)
    await pool.until(lambda: not list(pool))
    await fake.connections[0].closed.wait()


async def test_at_the_end_all_connections_are_closed(fake: FakeService, pool: WatchedPool) -> None:
    await pool.kept(request(fake))
    pool.offer(request(fake, b"bob"))
    pool.retire_all()
    await pool.until(lambda: not list(pool) and not pool.dialling)
    await fake.connections[0].closed.wait()
