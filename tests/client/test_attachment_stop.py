"""A stop waits as long as the run's grace may be; if this client does not know the grace, until the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from farhand_client import Client, ConnectionLost
from farhand_client.results import Result
from farhand_protocol import messages as m
from farhand_protocol.outcome import Outcome
from tests.support.fake_runs import ID, STOPPED
from tests.support.fake_service import FakeRun, client_of

HOUR = 3600.0


async def an_hour_passes(run: FakeRun) -> None:
    """Make every timer of less than an hour due, and let the client act on it."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + HOUR  # type: ignore[method-assign]  # the clock of this test
    run.client.send(m.Ping(id=1))
    await run.client.reads(1)


async def slow_to_stop(run: FakeRun) -> None:
    run.started()
    await run.until(m.Stop)
    await an_hour_passes(run)
    run.ended(STOPPED)


async def by_id(client: Client) -> Outcome | None:
    return (await client.stop(ID)).outcome


async def by_id_with_a_grace(client: Client) -> Outcome | None:
    return (await client.stop(ID, kill_after=1)).outcome


async def attached(client: Client) -> Outcome | None:
    async with client.attach(ID) as run:
        await run.stop()
        return run.outcome


async def started_with_the_services_grace(client: Client) -> Outcome | None:
    async with client.start(["prog"], kill_after=None) as run:
        await run.stop()
        return run.outcome


async def started_with_a_grace(client: Client) -> Outcome | None:
    async with client.start(["prog"], kill_after=HOUR) as run:
        await run.stop()
        return run.outcome


@pytest.mark.parametrize(
    "stop", [by_id, by_id_with_a_grace, attached, started_with_the_services_grace, started_with_a_grace]
)
async def test_a_stop_waits_for_the_end_however_long_the_grace_is(
    tmp_path: Path, stop: Callable[[Client], Awaitable[Outcome | None]]
) -> None:
    async with client_of(tmp_path, slow_to_stop) as (client, _):
        assert await stop(client) == STOPPED


async def test_a_stop_gives_up_a_service_that_hangs_beyond_the_grace(tmp_path: Path) -> None:
    async with client_of(tmp_path, slow_to_stop) as (client, _), client.start(["prog"], kill_after=60) as run:
        await run.stop()
        with pytest.raises(ConnectionLost, match=r"left run .* before its end"):
            await run.wait()


async def test_the_loss_of_the_connection_ends_a_stop(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        await run.until(m.Stop)
        run.client.cut()

    async with client_of(tmp_path, behave) as (client, _):
        with pytest.raises(ConnectionLost, match=ID):
            await client.stop(ID)


async def test_a_cancelled_stop_still_takes_effect(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        stopping.cancel()
        await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, service):
        stopping: asyncio.Future[Result] = asyncio.ensure_future(client.stop(ID))
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await service.tasks[0]
        assert [type(message) for message in service.runs[0].messages] == [m.Stop, m.Close]
