"""A run as the subreaper knows it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

import pytest

from farhand_server.runs.process import tracked, tree
from farhand_server.runs.process.meter import PeakFloor, UsageMeter
from farhand_server.runs.process.tracked import TrackedRun


async def test_the_end_of_a_leader_is_known_also_if_nobody_waits_for_its_code_any_more() -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 3"], {})
    run, cancelled = (TrackedRun(pid, 0, None, lambda _: [], UsageMeter(PeakFloor(0, 0))) for _ in range(2))
    cancelled.exited.cancel()
    _, status, usage = await asyncio.to_thread(os.wait4, pid, 0)
    for each in (run, cancelled):
        each.leader_ended(status, usage)
        assert each.tree.reaped
        assert each.reaped.is_set()
    assert run.exited.result() == 3
    assert cancelled.exited.cancelled()


async def ended(run: TrackedRun, *signals: int, blocked: Sequence[int] = ()) -> tuple[int, int]:
    """Let an orphan of the run end by these signals, the last of which it does not block; return its identity."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "999"], {}, setsigmask=blocked, setsigdef=range(1, signal.SIGKILL))
    member = tree.look(pid)
    assert member is not None
    for number in signals:
        os.kill(pid, number)
    zombie = await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert zombie is not None
    run.orphan_ended(zombie)
    os.waitpid(pid, 0)  # noqa: ASYNC222  # it has ended
    return pid, member.started


def leaderless() -> TrackedRun:
    run = TrackedRun(1, 0, None, lambda _: [], UsageMeter(PeakFloor(0, 0)))
    run.tree.reaped = True
    return run


async def test_an_orphan_that_is_hung_up_after_the_leader_is_named() -> None:
    run = leaderless()
    one, another = await ended(run, signal.SIGHUP), await ended(run, signal.SIGHUP)
    assert run.hung_up == {one: "sleep", another: "sleep"}


async def test_an_orphan_that_is_reaped_before_the_leader_that_took_it_along_is_named() -> None:
    leader = os.posix_spawn("/bin/true", ["true"], {})
    run = TrackedRun(leader, 0, None, lambda _: [], UsageMeter(PeakFloor(0, 0)))
    await asyncio.to_thread(os.waitid, os.P_PID, leader, os.WEXITED | os.WNOWAIT)
    orphan = await ended(run, signal.SIGHUP)
    assert run.hung_up == {orphan: "sleep"}
    os.waitpid(leader, 0)  # noqa: ASYNC222  # it has ended


async def test_an_orphan_that_is_hung_up_while_the_leader_runs_is_not_counted() -> None:
    run = TrackedRun(os.getpid(), 0, None, lambda _: [], UsageMeter(PeakFloor(0, 0)))
    await ended(run, signal.SIGHUP)
    assert run.hung_up == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
async def test_an_orphan_that_another_signal_ends_is_not_counted(number: int) -> None:
    run = leaderless()
    await ended(run, number)
    assert run.hung_up == {}


async def test_an_orphan_that_had_been_killed_before_is_not_counted() -> None:
    run = leaderless()
    await ended(run, signal.SIGTERM, signal.SIGHUP, blocked=[signal.SIGTERM])
    assert run.hung_up == {}


async def test_only_so_many_orphans_are_counted_and_none_of_a_run_that_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracked, "MAX_HUNG_UP", 1)
    run, over = leaderless(), leaderless()
    first = await ended(run, signal.SIGHUP)
    await ended(run, signal.SIGHUP)
    assert run.hung_up == {first: "sleep"}
    over.closed = True
    await ended(over, signal.SIGHUP)
    assert over.hung_up == {}
