"""One service, one `farhand web` and one browser for all tests here, which share an event loop, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.faulty_proxy import network_service
from tests.support.service import Service
from tests.support.web_pages import WebPage, chromium, web_page

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def web_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service over TLS; tests may cut its connections, and not stop it."""
    async with network_service(tmp_path_factory.mktemp("web"), "[drain]\ngrace = 0.2\n") as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_web(browser: Browser, web_service: Service) -> AsyncIterator[WebPage]:
    async with web_page(browser, web_service) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def web(shared_web: WebPage) -> AsyncIterator[WebPage]:
    """The page, in whose windows nothing may go wrong that the test does not expect."""
    shared_web.faults.clear()
    try:
        yield shared_web
    finally:
        await shared_web.close()
    assert shared_web.faults == []
