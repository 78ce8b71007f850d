"""Left processes are described as they are; those that may live on are reaped, can be signalled, and survive an
upgrade."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from farhand_protocol.left import MAX_PROCESS_NAMES, LeftProcesses
from farhand_server.runs.process import left, subreaper, tree
from farhand_server.runs.process.cgroup import Cgroups, RunCgroup
from farhand_server.runs.process.left import LeftTree, LeftTreeSnapshot
from farhand_server.runs.process.meter import PeakFloor, UsageMeter
from farhand_server.runs.process.tracked import MAX_HUNG_UP, TrackedRun
from farhand_server.runs.process.usage import ResourceLimits
from tests.support.processes import TIMEOUT, end_of, own_descriptors
from tests.support.started_programs import StartedProgram, nothing_left, started, wait_until_reaped

DAEMON = "(setsid sh -c 'echo $$; exec >&- 2>&-; exec sleep 999' &) ; exit 0"


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


@asynccontextmanager
async def released(script: str) -> AsyncIterator[tuple[StartedProgram, LeftTree]]:
    """Run a script that leaves processes behind, and leave them running; end them at the end."""
    async with started("sh", "-c", script, run_id="the-run") as run:
        await run.code()
        await run.process.examined()
        yield run, run.process.release()


async def test_the_processes_of_an_ended_program_are_named_and_counted() -> None:
    async with started("sh", "-c", DAEMON + "; exit") as run:
        pid = await run.pid()
        await run.code()
        async with asyncio.timeout(TIMEOUT):
            while tree.name_of(pid) != "sleep":  # noqa: ASYNC110  # an execve has no event
                await asyncio.sleep(0)
        await run.process.examined()
        assert left.describe(run.process.others()) == LeftProcesses(count=1, names=("sleep",), pids=(pid,))
        await run.killed()
        assert run.process.others() == []


async def test_the_leader_is_not_left_behind() -> None:
    async with started("sleep", "999") as run:
        assert run.process.others() == []
    assert left.describe([]) is None


async def test_many_processes_have_few_names() -> None:
    async with started("sh", "-c", "for i in $(seq 20); do sleep 999 & done; echo up; wait") as run:
        await run.line()
        members = run.process.others()
        found = left.describe(members)
        assert found is not None
        assert (found.count, found.stopped) == (20, False)
        assert len(found.names) <= MAX_PROCESS_NAMES
        assert len(found.pids) == 20


@pytest.mark.parametrize(
    ("found", "untouchable", "hung_up", "expected"),
    [
        ({7, 8}, set(), {}, (2, ("a", "b"), False)),
        ({7}, set(), {}, (2, ("a", "b"), False)),
        ({7, 8, 9}, set(), {}, (3, ("a", "b"), True)),
        ({7, 8}, {8}, {}, (1, ("a", "b"), False)),
        ({7, 8}, {7, 8}, {}, None),
        ({7, 8, 9}, set(), {9: "c"}, (3, ("a", "b", "c"), False)),
        ({7}, set(), {8: "b", 9: ""}, (3, ("a", "b"), False)),
        ({7, 8, 9}, {7, 8}, {6: "c"}, (1, ("c",), False)),
    ],
)
def test_only_what_was_ended_is_counted_and_more_than_was_seen_before_is_a_lower_bound(
    found: set[int], untouchable: set[int], hung_up: dict[int, str], expected: tuple[int, tuple[str, ...], bool] | None
) -> None:
    members = [tree.Member(pid, 1, pid, pid, 10 * pid, True) for pid in (7, 8)]
    before = LeftProcesses(count=2, names=("a", "b"), pids=(7, 8))
    gone = {(pid, 10 * pid): name for pid, name in hung_up.items()}
    said = left.stopped(before, members, {(pid, 10 * pid) for pid in found}, untouchable, gone)
    if expected is None:
        assert said is None
    else:
        count, names, at_least = expected
        assert said == LeftProcesses(count=count, names=names, at_least=at_least, stopped=True)


def test_processes_that_were_about_to_end_are_not_counted_beside_those_that_were_hung_up() -> None:
    assert left.stopped(None, [], {(7, 70)}, set(), {}) is None
    expected = LeftProcesses(count=1, names=("c",), stopped=True)
    assert left.stopped(None, [], {(7, 70)}, set(), {(8, 80): "c"}) == expected


def test_so_many_processes_that_were_hung_up_are_a_lower_bound() -> None:
    said = left.stopped(None, [], set(), set(), {(pid, pid): "x" for pid in range(MAX_HUNG_UP)})
    assert said == LeftProcesses(count=MAX_HUNG_UP, names=("x",), at_least=True, stopped=True)


async def test_released_processes_live_on_until_they_end_and_are_then_reaped() -> None:
    async with released(DAEMON) as (run, living):
        pid = await run.pid()
        ended = asyncio.Event()
        living.on_end = ended.set
        for _ in range(3):
            subreaper.current().reap()
            await asyncio.sleep(0)
        assert living.describe() is not None
        os.kill(pid, signal.SIGKILL)
        await wait_until_reaped(pid)
        async with asyncio.timeout(TIMEOUT):
            await ended.wait()
        assert living.describe() is None
        assert not living.signal(signal.SIGTERM)


async def test_the_children_of_a_released_process_are_left_running_as_well() -> None:
    script = "(setsid sh -c 'sleep 999 >&- 2>&- & echo $!; echo $$; exec >&- 2>&-; wait' &) ; exit 0"
    async with released(script) as (run, living):
        child, parent = await run.pid(), await run.pid()
        os.kill(parent, signal.SIGKILL)
        await wait_until_reaped(parent)
        async with started("true") as another:
            await another.code()
        found = living.describe()
        assert found is not None
        assert found.pids == (child,)


async def test_many_released_processes_that_end_one_by_one_are_not_all_examined_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = 40
    script = f"setsid sh -c 'for i in $(seq {count}); do sleep 999 >&- 2>&- & echo $!; done'; exit 0"
    async with released(script) as (run, living):
        pids = [await run.pid() for _ in range(count)]
        looks: list[int] = []
        look = tree.look

        def counted(pid: int) -> tree.Member | None:
            if pid in pids:  # and not what other tests have left
                looks.append(pid)
            return look(pid)

        monkeypatch.setattr(tree, "look", counted)
        ended = asyncio.Event()
        living.on_end = ended.set
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            await wait_until_reaped(pid)
        async with asyncio.timeout(TIMEOUT):
            await ended.wait()
        assert len(looks) < 10 * count  # all of them each time would be 20 times the count


async def test_a_description_examines_only_so_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "(setsid sh -c 'for i in 1 2 3; do sleep 999 >&- 2>&- & echo $!; done; exec >&- 2>&-; wait' &) ; exit 0"
    async with released(script) as (run, living):
        for _ in range(3):
            await run.pid()
        assert (whole := living.describe()) is not None
        assert (whole.count, whole.at_least) == (4, False)
        monkeypatch.setattr(left, "MAX_EXAMINED", 2)
        assert (some := living.describe()) is not None
        assert (some.count, some.at_least, len(some.pids)) == (2, True, 2)


async def test_a_stop_kills_what_does_not_end_in_time() -> None:
    stubborn = "(setsid sh -c \"trap '' TERM; echo \\$\\$; exec >&- 2>&-; while :; do sleep 60; done\" &) ; exit 0"
    async with released(stubborn) as (run, living):
        pid = await run.pid()
        async with asyncio.timeout(TIMEOUT):
            await living.stop(signal.SIGTERM, 0.2)
        await end_of(pid)
        assert living.describe() is None


async def test_many_stops_take_no_more_descriptors_than_one_and_the_first_to_be_over_counts() -> None:
    stubborn = "(setsid sh -c \"trap '' TERM; echo \\$\\$; exec >&- 2>&-; while :; do sleep 60; done\" &) ; exit 0"
    async with released(stubborn) as (run, living):
        pid = await run.pid()
        first = living.stop(signal.SIGTERM, 3600)
        await asyncio.sleep(0)
        before = len(own_descriptors())
        for each in range(20):
            assert living.stop(signal.SIGTERM, 3600 + each) is first
            await asyncio.sleep(0)
        assert len(own_descriptors()) <= before
        async with asyncio.timeout(TIMEOUT):
            await living.stop(signal.SIGTERM, 0.1)
        await end_of(pid)


async def test_a_stop_waits_no_longer_than_the_processes_live() -> None:
    async with released(DAEMON) as (run, living):
        await run.pid()
        async with asyncio.timeout(TIMEOUT):
            await living.stop(signal.SIGTERM, 3600)
        assert living.describe() is None


async def test_a_snapshot_holds_what_identifies_the_processes() -> None:
    async with released(DAEMON) as (run, living):
        snapshot = living.snapshot()
        assert (snapshot.leader, snapshot.run_id, snapshot.in_cgroup) == (run.process.pid, "the-run", False)
        assert snapshot.mark == tree.mark_of(await run.pid())


async def test_the_end_of_a_cgroup_is_only_awaited_when_no_process_is_known_any_more(tmp_path: Path) -> None:
    awaited = asyncio.Event()

    class ObservedCgroup(RunCgroup):
        async def remove_at_end(self, census: tree.Census) -> None:
            awaited.set()

    class FakeCgroups:
        def open(self, run_id: str, limits: ResourceLimits) -> RunCgroup:
            return ObservedCgroup(tmp_path, frozenset())

    async with started("sh", "-c", DAEMON, run_id="the-run") as run:
        pid = await run.pid()
        await run.code()
        snapshot = LeftTreeSnapshot(run.process.pid, tree.mark_of(pid), "the-run", in_cgroup=True)
        restored = LeftTree.restore(snapshot, cast(Cgroups, FakeCgroups()))
        ended = asyncio.Event()
        restored.on_end = ended.set
        for _ in range(3):
            await asyncio.sleep(0)
        assert not awaited.is_set()  # it takes two descriptors
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(TIMEOUT):
            await ended.wait()
            await awaited.wait()


async def test_processes_that_only_the_cgroup_knows_are_found(tmp_path: Path) -> None:
    stranger = os.posix_spawn("/bin/sleep", ["sleep", "999"], {}, setsid=True)
    try:
        (tmp_path / "cgroup.procs").write_text(f"0\n{stranger}\n")
        async with started("true") as run:
            await run.code()
            tracked = TrackedRun(run.process.pid, 0, None, lambda _: [], UsageMeter(PeakFloor(0, 0)))
            tracked.tree.reaped = True
            found = left.others(tracked, RunCgroup(tmp_path, frozenset()))
            assert [member.pid for member in found] == [stranger]
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)  # noqa: ASYNC222  # it was killed
