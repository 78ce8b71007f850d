"""The connection to one host: made on demand, replaced after a loss, and reported to the user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from farhand_client import connect
from farhand_client.connection.reconnecting import Outage
from farhand_client.errors import ConnectionLost, FarhandError, RequestRefused
from farhand_client.options import RunOptions
from farhand_client.repl.host_connection import HostConnection
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.fake_service import FakeRun, FakeService, refusing, succeed


class Host:
    """A connection to `service`, the messages it printed, and what it reported of outages."""

    def __init__(self, service: FakeService, reconnect: float | None = None) -> None:
        self.messages: list[str] = []
        self.changes = 0
        self.watch: Callable[[Outage | None], None] = lambda _: None
        self._service = service
        self._reconnect = reconnect
        self.connection = HostConnection("web", self._connect, self.messages.append)
        self.connection.on_change = self._changed

    def _connect(self, watch: Callable[[Outage | None], None]) -> Any:
        self.watch = watch
        return connect(self._service.host, reconnect=self._reconnect, watch=watch)

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def web(service: FakeService) -> Host:
    service.behave = succeed
    return Host(service)


async def cut(web: Host, service: FakeService) -> None:
    """Cut the connection, and wait until the client knows."""
    client = web.connection.client
    assert client is not None
    service.connections[-1].cut()
    with pytest.raises(ConnectionLost):
        await client.ping()


async def run_true(web: Host) -> None:
    async with await web.connection.start(["true"], RunOptions()) as run:
        await run.wait()


async def test_the_first_use_connects_and_learns_account_and_host(web: Host, service: FakeService) -> None:
    assert (web.connection.client, web.connection.user) == (None, "")
    client = await web.connection.connect()
    assert await web.connection.connect() is client
    assert (web.connection.user, web.connection.host, web.changes) == ("ann", "fake", 1)
    await web.connection.close()
    assert web.connection.client is None


async def test_two_tasks_that_connect_share_one_connection(web: Host, service: FakeService) -> None:
    one, other = await asyncio.gather(web.connection.connect(), web.connection.connect())
    assert one is other
    assert len(service.connections) == 1
    await web.connection.close()


async def test_a_failure_to_connect_is_raised_and_the_next_use_connects(web: Host, service: FakeService) -> None:
    address, service.host = service.host, "unix:/nowhere/s"
    with pytest.raises(FarhandError):
        await web.connection.connect()
    service.host = address
    await web.connection.connect()
    await web.connection.close()


async def test_a_run_after_a_lost_connection_connects_again(web: Host, service: FakeService) -> None:
    await run_true(web)
    await cut(web, service)
    await run_true(web)
    assert [message.endswith("; connecting again") for message in web.messages] == [True]
    await web.connection.close()


async def test_a_run_that_may_have_started_is_not_started_again(web: Host, service: FakeService) -> None:
    async def vanish(run: FakeRun) -> None:
        run.client.cut()

    await web.connection.connect()
    service.behave = vanish
    with pytest.raises(ConnectionLost) as lost:
        await run_true(web)
    assert lost.value.may_have_run
    assert len(service.runs) == 1
    assert web.connection.client is None, "the next use connects"


async def test_a_service_that_drains_is_left_and_other_refusals_keep_the_connection(
    web: Host, service: FakeService
) -> None:
    client = await web.connection.connect()
    service.behave = refusing(ErrorCode.DENIED, "no")
    with pytest.raises(RequestRefused):
        await run_true(web)
    assert web.connection.client is client
    service.behave = refusing(ErrorCode.DRAINING, "later")
    with pytest.raises(RequestRefused):
        await run_true(web)
    assert web.connection.client is None


async def test_a_shutdown_is_reported_once_and_the_next_line_connects_again(web: Host, service: FakeService) -> None:
    client = await web.connection.connect()
    service.connections[0].send(m.GoingAway(grace=1.0))
    await client.ping()
    web.connection.report_shutdown()
    web.connection.report_shutdown()
    assert web.messages == [f"{client.name} is shutting down and accepts no new commands; the next line connects again"]
    assert await web.connection.connect() is not client
    assert len(web.messages) == 1
    await web.connection.close()


async def test_a_connection_is_lost_until_it_is_back(web: Host) -> None:
    await web.connection.connect()
    lost = [web.connection.lost]
    for outage in (Outage(FarhandError("cut"), 10.0), None):
        web.watch(outage)
        lost.append(web.connection.lost)
    assert lost == [False, True, False]
    assert web.changes == 3
    await web.connection.close()


async def test_an_outage_that_began_before_is_reported_inside_the_block(
    web: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.ui.outages.OUTAGE_NOTICE_DELAY", 0.0)
    notices: list[str | None] = []
    shown = asyncio.Event()

    def show(notice: str | None) -> None:
        notices.append(notice)
        shown.set()

    await web.connection.connect()
    web.watch(Outage(FarhandError("cut"), 10.0))
    with web.connection.reporting_outages(show):
        await asyncio.wait_for(shown.wait(), 10)
        web.watch(None)
    assert notices[0] is not None
    assert notices[0].startswith("connection to web lost; reconnecting")
    assert notices[1:] == [None]
    await web.connection.close()


async def test_only_a_connection_that_is_lost_permanently_is_closed(web: Host, service: FakeService) -> None:
    await web.connection.close_if_lost()
    client = await web.connection.connect()
    await web.connection.close_if_lost()
    assert web.connection.client is client
    await cut(web, service)
    await web.connection.close_if_lost()
    assert web.connection.client is None


async def test_a_client_that_is_reconnecting_is_kept(service: FakeService) -> None:
    web = Host(service, reconnect=60.0)
    client = await web.connection.connect()
    lost = asyncio.Event()
    web.connection.on_change = lost.set
    service.greet = lambda connection, message: None
    service.connections[0].cut()
    await asyncio.wait_for(lost.wait(), 10)
    await web.connection.close_if_lost()
    assert web.connection.client is client
    await web.connection.close()
