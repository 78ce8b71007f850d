"""Whoever awaits a run can be cancelled anywhere: the run is stopped, and its end waited for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from farhand_client import PIPE, Client, Run
from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from tests.support.fake_runs import STOPPED, stoppable
from tests.support.fake_service import Behaviour, FakeRun, client_of


async def silent(run: FakeRun) -> None:
    """Not started yet."""


async def quiet(run: FakeRun) -> None:
    run.started()


async def chatting(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"so far")


async def flooding(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", bytes(20 * MiB))


@pytest.mark.parametrize("before", [silent, quiet, chatting, flooding])
@pytest.mark.parametrize("options", [{}, {"input": bytes(20 * MiB)}, {"stdin": "pipe"}])
async def test_cancelling_stops_the_run_and_waits_for_its_end(tmp_path: Path, before: Behaviour, options: Any) -> None:
    reading, writing = os.pipe()
    stopped = False

    async def behave(run: FakeRun) -> None:
        nonlocal stopped
        task.cancel()
        begun = asyncio.ensure_future(before(run))
        await run.until(m.Stop)
        await begun
        stopped = True
        run.ended(STOPPED)

    async with client_of(tmp_path, behave, takes_stdin=False) as (client, _):
        if "stdin" in options:
            options = {"stdin": reading}
        task = asyncio.ensure_future(client.run(["x"], **options))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped
        assert await client.ping() > 0
    os.close(reading)
    os.close(writing)


async def test_a_second_cancellation_gives_up_the_waiting_not_the_stopping(tmp_path: Path) -> None:
    closed = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        task.cancel()
        await run.until(m.Stop)
        task.cancel()
        await run.until(m.Close)
        closed.set()

    async with client_of(tmp_path, behave) as (client, _):
        task = asyncio.ensure_future(client.run(["x"]))
        with pytest.raises(asyncio.CancelledError):
            await task
        await closed.wait()


async def test_losing_the_connection_while_stopping_is_no_other_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        task.cancel()
        await run.until(m.Stop)
        run.client.cut()

    async with client_of(tmp_path, behave) as (client, _):
        task = asyncio.ensure_future(client.run(["x"]))
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_asyncio_timeout_works_as_everywhere(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        run.ended(STOPPED)

    async with client_of(tmp_path, behave) as (client, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.run(["x"])


async def waiting(run: Run) -> None:
    await run.wait()


async def reading(run: Run) -> None:
    await run.stdout.read()


async def lining(run: Run) -> None:
    async for _ in run.stdout.lines():
        pass


async def draining(run: Run) -> None:
    assert run.stdin is not None
    run.stdin.write(bytes(9 * MiB))
    await run.stdin.drain()


@pytest.mark.parametrize("await_something", [waiting, reading, lining, draining])
async def test_cancelled_anywhere_a_run_is_stopped_and_its_end_waited_for(tmp_path: Path, await_something: Any) -> None:
    async def script(client: Client) -> None:
        async with client.start(["prog"], stdin=PIPE) as run:
            inside.set()
            await await_something(run)

    inside = asyncio.Event()
    async with client_of(tmp_path, stoppable, takes_stdin=False) as (client, service):
        task = asyncio.ensure_future(script(client))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert m.Stop() in service.runs[0].messages
        assert service.tasks[0].done()


async def test_cancelled_before_its_start_a_run_is_stopped(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        task.cancel()
        await run.until(m.Stop)
        run.ended(STOPPED)

    async with client_of(tmp_path, behave) as (client, service):
        task = asyncio.ensure_future(client.start(["prog"]))
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.tasks[0]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
async def test_an_error_in_the_context_stops_the_run(tmp_path: Path, error: type[BaseException]) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        with pytest.raises(error):
            async with client.start(["prog"]):
                raise error
        assert m.Stop() in service.runs[0].messages
