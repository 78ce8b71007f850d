"""Processes that a command leaves behind are stopped and named, or left running for good if that is requested."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client import Exited, RequestRefused, SpawnError, connect
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.client import RawClient
from tests.support.command import farhand
from tests.support.processes import end_of
from tests.support.service import Service, running_service
from tests.support.upgrades import upgraded

DAEMON = "(setsid sleep 999 >/dev/null 2>&1 &) ; exit 3"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A separate service, because what is left running outlives it."""
    config = "[runs]\nlinger = 0.2\n[drain]\ngrace = 0.2\n"
    async with running_service(tmp_path, config=config) as running:
        yield running


async def listed(service: Service, *, ended: bool = False) -> list[m.LeftProcesses | None]:
    async with connect(service.host) as client:
        return [run.left_processes for run in await client.runs(ended=ended)]


async def test_what_is_stopped_is_said_everywhere(service: Service) -> None:
    done = await farhand("run", "--shell", service.host, DAEMON)
    said = "1 process left behind was stopped: sleep; --leave-processes or policy keeps it"
    assert (done.code, done.stderr.decode()) == (3, f"farhand: {said}\n")
    async with connect(service.host) as client:
        completed = await client.run(DAEMON, shell=True)
        expected = m.LeftProcesses(count=1, names=("sleep",), stopped=True)
        assert completed.left_processes == expected
        assert (await client.wait(completed.run_id)).left_processes == expected
    assert await listed(service, ended=True) == [expected, expected]
    assert await listed(service) == []


async def test_an_older_client_receives_the_outcome_without_the_processes(service: Service) -> None:
    async with RawClient.connect(service.socket) as client:
        run = client.start("sh", "-c", DAEMON)
        ended = await run.ended()
        assert (ended.outcome, ended.left_processes) == (Exited(code=3), None)


async def test_what_is_left_running_survives_upgrade_and_restart_and_can_be_stopped(
    service: Service, tmp_path: Path
) -> None:
    async with connect(service.host) as client:
        runs = [await client.run(DAEMON, shell=True, leave_processes=True) for _ in range(2)]
    pids: list[int] = []
    for run in runs:
        assert run.left_processes is not None
        assert not run.left_processes.stopped
        pids += run.left_processes.pids
    assert len(pids) == 2
    try:
        await upgraded(service)
        assert sorted(left.pids for left in await listed(service) if left is not None) == [
            (pid,) for pid in sorted(pids)
        ]
        async with connect(service.host) as client:
            stopped = await client.stop(runs[0].run_id)
            assert stopped.left_processes is not None
            assert stopped.left_processes.stopped
            await end_of(pids[0])
            with pytest.raises(RequestRefused) as refused:
                await client.signal(runs[0].run_id, signal.SIGTERM)
            assert refused.value.code is ErrorCode.RUN_ENDED
            with pytest.raises(SpawnError):
                await client.run(["/nonexistent"], leave_processes=True)
        assert [left.pids for left in await listed(service) if left is not None] == [(pids[1],)]
        await service.stop()
        async with running_service(tmp_path) as again:
            os.kill(pids[1], 0)
            assert await listed(again) == []
            newest, *others = await listed(again, ended=True)
            assert newest is None, "the program that was not found"
            assert [left.stopped for left in others if left is not None] == [False, False]
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_the_name_that_a_process_has_when_it_is_stopped_is_said(service: Service, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    os.mkfifo(first)
    os.mkfifo(second)
    later = f"(sh -c 'read _ <{first}; exec cat {second}' >/dev/null 2>&1 &)"
    async with connect(service.host) as client:
        run = await client.run(later, shell=True, leave_processes=True)
        assert run.left_processes is not None
        assert run.left_processes.names != ("cat",)
        await asyncio.to_thread(first.write_text, "go\n")
        with await asyncio.to_thread(second.open, "w"):  # opens once it is `cat`
            stopped = await client.stop(run.run_id)
        assert stopped.left_processes is not None
        assert (stopped.left_processes.names, stopped.left_processes.stopped) == (("cat",), True)
