"""The edge's tests run on uvloop, as the edge does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from farhand_server.config import EdgeSettings
from tests.server.edge.harness import RunningEdge, running_edge


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> EdgeSettings:
    """The default settings with the changes of `@pytest.mark.parametrize("settings", [{…}], indirect=True)`."""
    return EdgeSettings(**getattr(request, "param", {}))


@pytest.fixture
async def edge(tmp_path: Path, settings: EdgeSettings) -> AsyncIterator[RunningEdge]:
    async with running_edge(tmp_path, settings) as running:
        yield running
