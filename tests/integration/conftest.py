"""One service for all tests that do not change it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support.client import RawClient
from tests.support.service import Service, running_service


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A farhandd that many tests share; none of them may stop or change it."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        directory = tmp_path_factory.mktemp("core")
        service = runner.run(stack.enter_async_context(running_service(directory, config="[runs]\nlinger = 0.3\n")))
        try:
            yield service
        finally:
            runner.run(stack.aclose())


@pytest.fixture
async def client(core: Service) -> AsyncIterator[RawClient]:
    """A local client of the shared service."""
    async with RawClient.connect(core.socket) as connected:
        yield connected
