"""A stopped run is asked to end, gets its grace period, and is then killed; a timeout stops it when it is due."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from farhand_server.runs.output.spool import MemorySpool, SpoolMemory
from farhand_server.runs.plan import StopReason
from farhand_server.runs.stop import StopLadder, Timeouts
from tests.server.connection.channels.runs import plan

TIMEOUT = 10.0


class Steps:
    """A stop ladder, and the steps that it has taken, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.killed = asyncio.Event()
        self.ladder = StopLadder()

    def ask(self) -> None:
        self.done.append("ask")

    def kill(self) -> None:
        self.done.append("kill")
        self.killed.set()

    def connect(self) -> None:
        self.ladder.connect(self.ask, self.kill)

    async def end(self) -> list[str]:
        async with asyncio.timeout(TIMEOUT):
            await self.killed.wait()
        return self.done


@pytest.fixture
async def steps() -> Steps:
    return Steps()


async def test_a_run_is_asked_at_once_and_killed_after_the_grace_period(steps: Steps) -> None:
    steps.connect()
    assert steps.done == []
    steps.ladder.request("requested", 0.01, "because")
    assert steps.done == ["ask"]
    assert await steps.end() == ["ask", "kill"]
    assert (steps.ladder.reason, steps.ladder.message) == ("requested", "because")


async def test_the_first_reason_counts_and_the_earliest_kill(steps: Steps) -> None:
    steps.connect()
    steps.ladder.request("requested", 3600)
    steps.ladder.request("draining", 0.0, "too late to be the reason")
    assert await steps.end() == ["ask", "kill"]
    assert (steps.ladder.reason, steps.ladder.message) == ("requested", None)


async def test_a_later_request_never_lengthens_the_grace_period(steps: Steps) -> None:
    steps.connect()
    steps.ladder.request("requested", 0.01)
    kill_at = steps.ladder.kill_at
    steps.ladder.request("requested", 3600)
    assert steps.ladder.kill_at == kill_at
    assert await steps.end() == ["ask", "kill"]


async def test_a_request_before_the_program_runs_takes_effect_once_it_does(steps: Steps) -> None:
    steps.ladder.request("disconnected", 0.0)
    await asyncio.sleep(0)
    assert steps.done == []
    steps.connect()
    assert steps.done == ["ask"]
    assert await steps.end() == ["ask", "kill"]


async def test_a_restored_ladder_does_not_ask_again_and_kills_when_it_is_due(steps: Steps) -> None:
    kill_at = time.monotonic() + 0.01
    steps.ladder.restore("requested", None, kill_at, steps.ask, steps.kill)
    steps.ladder.request("draining", 3600)
    assert await steps.end() == ["kill"]
    assert steps.ladder.reason == "requested"


async def test_nothing_happens_after_the_program_has_ended(steps: Steps) -> None:
    steps.connect()
    steps.ladder.request("requested", 0.0)
    steps.ladder.close()
    steps.ladder.request("draining", 0.0)
    await asyncio.sleep(0.001)
    assert steps.done == ["ask"]


class Timed:
    """Timeouts of a plan, and the reasons for which they stop the run."""

    def __init__(self, **fields: Any) -> None:
        memory = SpoolMemory(1 << 30)
        self.spools = MemorySpool(1, memory), MemorySpool(1, memory)
        self.stopped: asyncio.Queue[StopReason] = asyncio.Queue()
        self.silence = 0.0
        """Seconds without output when the run was stopped."""
        self.timeouts = Timeouts(plan(**fields), self.spools, self._stop)

    def _stop(self, reason: StopReason) -> None:
        self.silence = time.monotonic() - max(spool.touched for spool in self.spools)
        self.stopped.put_nowait(reason)

    async def reason(self) -> StopReason:
        async with asyncio.timeout(TIMEOUT):
            return await self.stopped.get()


async def test_the_total_timeout_stops_the_run_when_it_is_due() -> None:
    timed = Timed()
    assert timed.timeouts.times_out is None
    when = time.monotonic() + 0.01
    timed.timeouts.start_total(when)
    assert timed.timeouts.times_out == pytest.approx(when, abs=1.0)
    assert await timed.reason() == "timed_out"
    assert time.monotonic() >= when


async def test_silence_for_the_idle_timeout_stops_the_run() -> None:
    timed = Timed(idle_timeout=0.02)
    timed.timeouts.start_idle()
    for _ in range(3):
        await asyncio.sleep(0.005)
        timed.spools[1].append(b"x")
    assert await timed.reason() == "idle"
    assert timed.silence >= 0.02


async def test_a_program_that_waits_for_its_readers_is_not_idle() -> None:
    timed = Timed(idle_timeout=0.005)
    timed.spools[0].append(bytes(1 << 20))
    assert timed.spools[0].full
    timed.timeouts.start_idle()
    await asyncio.sleep(0.02)
    assert timed.stopped.empty()
    timed.spools[0].hold(1 << 20)
    assert await timed.reason() == "idle"


@pytest.mark.parametrize("fields", [{}, {"idle_timeout": 0.0}], ids=["no timeout", "after the end"])
async def test_without_a_timeout_or_after_the_end_nothing_is_stopped(fields: dict[str, float]) -> None:
    timed = Timed(**fields)
    timed.timeouts.start_idle()
    timed.timeouts.close()
    await asyncio.sleep(0.001)
    assert timed.stopped.empty()
