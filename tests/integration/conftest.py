"""One service for all tests that do not change it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from farhand_client import SpawnError, connect
from tests.support.client import RawClient
from tests.support.service import Service, running_service
from tests.support.tmux import Screen


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A farhandd that many tests share; no test may stop or change it."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        directory = tmp_path_factory.mktemp("core")
        config = "[runs]\nlinger = 0.3\n[drain]\ngrace = 0.2\n"
        service = runner.run(stack.enter_async_context(running_service(directory, config=config)))
        try:
            yield service
        finally:
            runner.run(stack.aclose())


@pytest.fixture(autouse=True)
async def nothing_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """End all runs that a test has left on the shared service before the next test: shells do not end by themselves."""
    yield
    if "core" in request.fixturenames:
        core: Service = request.getfixturevalue("core")
        async with connect(core.host) as connected:
            for run in await connected.runs():
                with contextlib.suppress(SpawnError):  # one that was still starting
                    await connected.stop(run.id, kill_after=0)


@pytest.fixture
async def client(core: Service) -> AsyncIterator[RawClient]:
    """A local client of the shared service."""
    async with RawClient.connect(core.socket) as connected:
        yield connected


@pytest.fixture
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """A terminal, with a socket whose path is short enough."""
    made = Screen(tmp_path_factory.mktemp("tmux") / "socket")
    yield made
    with contextlib.suppress(subprocess.CalledProcessError):
        made.tmux("kill-server")


@pytest.fixture
def own(core: Service, tmp_path: Path) -> dict[str, str]:
    """An environment for clients with their own files, in which the shared service is called `web`."""
    config = tmp_path / "config/farhand"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(f'[hosts.web]\naddress = "{core.host}"\n')
    return core.environment | {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
async def repl(screen: Screen, own: dict[str, str]) -> Screen:
    """A REPL at its first prompt."""
    await screen.open("web", own)
    return screen
