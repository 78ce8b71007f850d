"""A call that waits for a run can be cancelled at any point: it stops the run and waits for its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from farhand_client import PIPE, Client, Run
from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from tests.support.fake_runs import ID, STOPPED, Gate, stoppable
from tests.support.fake_service import Behaviour, FakeConnection, FakeRun, client_of


async def silent(run: FakeRun) -> None:
    """Do not report a start."""


async def quiet(run: FakeRun) -> None:
    run.started()


async def chatting(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"so far")


async def flooding(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", bytes(5 * MiB))


@pytest.mark.parametrize("before", [silent, quiet, chatting, flooding])
@pytest.mark.parametrize("options", [{}, {"input": bytes(5 * MiB)}, {"stdin": "pipe"}])
async def test_cancelling_stops_the_run_and_waits_for_its_end(tmp_path: Path, before: Behaviour, options: Any) -> None:
    reading, writing = os.pipe()
    stopped = False

    async def behave(run: FakeRun) -> None:
        nonlocal stopped
        task.cancel()
        started = asyncio.ensure_future(before(run))
        await run.until(m.Stop)
        await started
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


async def test_losing_the_connection_while_stopping_is_not_another_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        task.cancel()
        await run.until(m.Stop)
        run.client.cut()

    async with client_of(tmp_path, behave) as (client, _):
        task = asyncio.ensure_future(client.run(["x"]))
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_an_asyncio_timeout_works_as_usual(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, _):
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
async def test_cancelled_anywhere_a_run_is_stopped_and_awaited(tmp_path: Path, await_something: Any) -> None:
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


async def test_a_run_cancelled_before_its_start_is_stopped(tmp_path: Path) -> None:
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


async def asking_to_run(client: Client) -> None:
    await client.run(["x"])


async def asking_to_keep(client: Client) -> None:
    await client.run(["x"], on_disconnect="keep")


async def asking_to_start(client: Client) -> None:
    await client.start(["x"])


async def asking_to_attach(client: Client) -> None:
    await client.attach("0189")


async def asking_for_a_list(client: Client) -> None:
    await client.runs()


async def asking_for_a_wait(client: Client) -> None:
    await client.wait_for(ID, "x")


async def asking_for_the_end(client: Client) -> None:
    await client.wait(ID)


async def asking_to_stop(client: Client) -> None:
    await client.stop(ID)


async def asking_for_a_signal(client: Client) -> None:
    await client.signal(ID, 15)


async def asking_for_a_ping(client: Client) -> None:
    await client.ping()


async def asking_for_output(client: Client) -> None:
    run = await client.attach(ID)
    async for _ in run.output():
        pass


Asking = Callable[[Client], Coroutine[Any, Any, None]]
ASKING: list[Asking] = [
    asking_to_run,
    asking_to_keep,
    asking_to_start,
    asking_to_attach,
    asking_for_a_list,
    asking_for_a_wait,
    asking_for_the_end,
    asking_to_stop,
    asking_for_a_signal,
    asking_for_a_ping,
    asking_for_output,
]


async def until_cancelled(
    asking: Callable[[Client], Coroutine[Any, Any, None]], client: Client, turns: int, cancels: int
) -> bool:
    """Cancel `asking` after some turns of the event loop and wait for its end; return whether it was cancelled."""
    task = asyncio.ensure_future(asking(client))
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    return task.cancelled()


@pytest.mark.parametrize("asking", ASKING)
async def test_cancelling_during_an_outage_leaves_no_channel_open(tmp_path: Path, asking: Asking) -> None:
    async with client_of(tmp_path, stoppable, reconnect=30) as (client, service):
        gate = Gate(service)
        await gate.shut()
        for turns in range(4):
            assert await until_cancelled(asking, client, turns, 3)
        gate.open()
        await client.ping()
        await client.ping()
        assert service.questions == []
        assert all(run.attach is not None for run in service.runs), "a cancelled start was sent"
        assert service.connections[-1].connection.open_channels == 0


@pytest.mark.parametrize("asking", ASKING)
async def test_cancelling_at_the_end_of_an_outage_leaves_no_channel_open(tmp_path: Path, asking: Asking) -> None:
    async with client_of(tmp_path, stoppable, reconnect=30) as (client, service):
        service.answer = lambda *_: None
        for turns in range(0, 30, 3):
            await client.ping()
            service.connections[-1].cut()
            await service.connections[-1].closed.wait()
            await until_cancelled(asking, client, turns, 3)
        async with asyncio.timeout(30):
            while service.connections[-1].connection.open_channels and not closed(service.connections[-1]):
                await client.ping()
        assert all(m.Stop in map(type, run.messages) for run in service.runs if owned(run))


def closed(connection: FakeConnection) -> bool:
    """Return whether the client has closed the only channel that it has opened; this service does not answer that."""
    received = [*connection.messages, *(message for run in connection.runs.values() for message in run.messages)]
    return m.Close() in received


def owned(run: FakeRun) -> bool:
    """Return whether the client had to stop the run, and could."""
    return run.attach is None and run.request.on_disconnect == "kill" and not run.client.closed.is_set()
