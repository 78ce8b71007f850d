"""Browsers have the same limits before login as other clients, and pay for the same failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from farhand_protocol.page import PageFile
from farhand_server.config import EdgeSettings
from farhand_server.edge.preliminary import BrowserEntry
from farhand_server.listen.feed import FromCore
from farhand_server.sources import source_of
from farhand_server.web import exchange as exchange_module
from farhand_server.web.exchange import HttpExchange
from farhand_server.web.requests import WebSite
from tests.server.edge.harness import Peer, RunningEdge, running_edge, until
from tests.support.browser_frames import masked, request, upgrade

LARGE = bytes(3 << 20)
FILES = {"/index.html": PageFile("text/html", b"page", "1"), "/large": PageFile("text/plain", LARGE, "2")}
SITE = WebSite("http://localhost:8080", "localhost", FILES, "1.0")


@pytest.fixture
async def web(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RunningEdge]:
    changes = getattr(request, "param", {})
    idle = changes.pop("idle", 3600.0)
    browsers = BrowserEntry(lambda stream: HttpExchange(SITE, stream), idle)
    async with running_edge(tmp_path, EdgeSettings(**changes), browsers=browsers) as running:
        yield running


def debt(web: RunningEdge) -> float:
    return web.edge.limiter.debt(source_of(ip_address("127.0.0.1")), asyncio.get_running_loop().time())


async def opened(web: RunningEdge) -> Peer:
    browser = await web.connect_bare()
    await browser.send(upgrade())
    assert (await browser.receive(12)) == b"HTTP/1.1 101"
    await asyncio.wait_for(browser.reader.readuntil(b"\r\n\r\n"), 10)
    return browser


async def test_files_are_served_on_one_connection_and_cost_nothing(web: RunningEdge) -> None:
    browser = await web.connect_bare()
    for _ in range(3):
        await browser.send(request())
        answer = await asyncio.wait_for(browser.reader.readuntil(b"\r\n\r\npage"), 10)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    browser.close()
    await until(lambda: not web.edge.connections)
    assert debt(web) == 0


async def test_a_large_file_arrives_whole_at_a_browser_that_reads_late(web: RunningEdge) -> None:
    browser = await web.connect_bare()
    await browser.send(request("/large", Connection="close"))
    answer = await browser.read_to_end()
    assert answer.partition(b"\r\n\r\n")[2] == LARGE
    assert debt(web) == 0


async def test_a_websocket_s_bytes_are_copied_both_ways_and_the_core_knows_that_it_is_a_browser(
    web: RunningEdge,
) -> None:
    browser = await opened(web)
    core = await web.core.client()
    assert core.header.web
    await browser.send(masked(b"hello"))
    assert await core.receive(5) == b"hello"
    await core.send(b"welcome")
    assert await browser.receive(9) == b"\x82\x07welcome"
    await web.core.verdict(core, FromCore.LOGGED_IN)
    await until(lambda: web.edge.limiter.before_login == 0)
    core.close()
    assert (await browser.read_to_end())[:1] == b"\x88"
    await until(lambda: not web.edge.connections)
    assert debt(web) == 0


@pytest.mark.parametrize("web", [{"penalty_no_login": 60.0}], indirect=True)
@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", request(host="evil.example"), upgrade(origin="http://evil")])
async def test_who_asks_for_nothing_proper_pays_for_it(web: RunningEdge, sent: bytes) -> None:
    browser = await web.connect_bare()
    await browser.send(sent)
    assert (await browser.read_to_end()).startswith(b"HTTP/1.1 4")
    assert debt(web) > 0
    assert web.core.clients.empty()


async def test_a_refused_login_costs_what_it_costs_other_clients(web: RunningEdge) -> None:
    browser = await opened(web)
    core = await web.core.client()
    await web.core.verdict(core, FromCore.REFUSED)
    await until(lambda: debt(web) > 4)
    browser.close()


async def test_a_source_in_debt_gets_not_even_the_page(web: RunningEdge) -> None:
    web.edge.limiter.charge(source_of(ip_address("127.0.0.1")), 60, asyncio.get_running_loop().time())
    browser = await web.connect_bare()
    await browser.send(request())
    assert not (await browser.read_to_end()).startswith(b"HTTP")


@pytest.mark.parametrize("web", [{"tls_deadline": 0.2, "penalty_deadline": 60.0}], indirect=True)
async def test_half_a_request_is_not_waited_for_and_is_paid_for(web: RunningEdge) -> None:
    browser = await web.connect_bare()
    await browser.send(b"GET / HTTP/1.1\r\n")
    assert await browser.read_to_end() == b""
    assert debt(web) > 0


async def test_a_connection_that_asks_for_nothing_more_is_closed_and_costs_nothing(
    web: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpExchange, "idle_time", 0.05)
    browser = await web.connect_bare()
    await browser.send(request())
    assert (await browser.read_to_end()).endswith(b"page")
    assert debt(web) == 0


async def test_requests_on_one_connection_are_bounded(web: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "MAX_REQUESTS", 3)
    browser = await web.connect_bare()
    await browser.send(request() * 3)
    assert (await browser.read_to_end()).count(b"page") == 3


@pytest.mark.parametrize("web", [{"idle": 0.2}], indirect=True)
async def test_a_page_at_which_nobody_is_gets_logged_out(web: RunningEdge) -> None:
    browser = await opened(web)
    core = await web.core.client()
    await web.core.verdict(core, FromCore.LOGGED_IN)
    assert (await browser.read_to_end())[2:4] == (4401).to_bytes(2)
    assert await core.read_to_end() == b""
