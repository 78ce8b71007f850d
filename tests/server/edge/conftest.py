"""The edge's tests run on the loop that the edge runs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from farhand_server.config import EdgeSettings
from tests.server.edge.harness import Running, running_edge


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> EdgeSettings:
    """The defaults, with what `@pytest.mark.parametrize("settings", [{…}], indirect=True)` changes."""
    return EdgeSettings(**getattr(request, "param", {}))


@pytest.fixture
async def edge(tmp_path: Path, settings: EdgeSettings) -> AsyncIterator[Running]:
    async with running_edge(tmp_path, settings) as running:
        yield running
