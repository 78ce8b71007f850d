"""Each run has its own cgroup if the system delegates them, and None otherwise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from farhand_server.descriptors import reserve
from farhand_server.runs.process import tree
from farhand_server.runs.process.cgroup import (
    CONTROLLERS,
    Cgroups,
    RunCgroup,
    delegated,
    own_cgroup,
    remove_dead_homes,
)
from farhand_server.runs.process.usage import ResourceLimits, ResourceUsage
from tests.support.processes import TIMEOUT, no_descriptors, status
from tests.support.started_programs import nothing_left, started, wait_until_reaped

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
PLACES = {
    "a unit": ("0::/system.slice/farhandd.service\n", V2, "/sys/fs/cgroup/system.slice/farhandd.service"),
    "the root": ("0::/\n", V2, "/sys/fs/cgroup"),
    "hybrid": ("4:memory:/a\n1:name=systemd:/b\n0::/c\n", HYBRID, "/sys/fs/cgroup/unified/c"),
    "a colon": ("0::/a:b\n", V2, "/sys/fs/cgroup/a:b"),
    "part of it is mounted": ("0::/box/it/in\n", V2.replace(" / ", " /box/it "), "/sys/fs/cgroup/in"),
    "another part is mounted": ("0::/other\n", V2.replace(" / ", " /box "), None),
    "outside of the namespace": ("0::/../other\n", V2, None),
    "a blank": ("0::/\n", V2.replace("/sys/fs/cgroup", "/my\\040groups"), "/my groups"),
    "no v2": ("4:memory:/a\n", HYBRID, None),
    "not mounted": ("0::/\n", HYBRID.splitlines()[0], None),
}


@pytest.mark.parametrize(("cgroup", "mountinfo", "path"), PLACES.values(), ids=PLACES.keys())
def test_the_services_cgroup_is_found(cgroup: str, mountinfo: str, path: str | None) -> None:
    assert own_cgroup(cgroup, mountinfo) == (None if path is None else Path(path))


def test_a_cgroup_that_is_not_writable_is_not_delegated(tmp_path: Path) -> None:
    assert delegated(tmp_path) is False  # it has no cgroup.procs


@pytest.fixture
def home(tmp_path: Path) -> Cgroups:
    """Cgroups whose files are ordinary files."""
    return Cgroups(tmp_path, frozenset(CONTROLLERS))


def test_a_run_gets_its_limits(home: Cgroups) -> None:
    group = home.create("one", ResourceLimits(memory=1 << 20, processes=5, cpu=3, files=9))
    assert group is not None
    assert group.run_id == "one"
    assert sorted(group.enforces) == ["memory", "processes"]
    assert group.others(ResourceLimits(memory=1, processes=5, cpu=3, files=9)) == ResourceLimits(cpu=3, files=9)
    assert (group.path / "memory.max").read_text() == str(1 << 20)
    assert (group.path / "pids.max").read_text() == "5"
    assert home.open("one", ResourceLimits(memory=1 << 20, processes=5)) == group
    assert home.open("two", ResourceLimits()) is None


def test_missing_controllers_enforce_nothing(tmp_path: Path) -> None:
    group = Cgroups(tmp_path, frozenset()).create("one", ResourceLimits(memory=1 << 20, processes=5))
    assert group is not None
    assert group.enforces == frozenset()
    assert list(group.path.iterdir()) == []


def test_a_cgroup_that_cannot_be_created_is_none(home: Cgroups) -> None:
    assert home.create("one", ResourceLimits()) is not None
    assert home.create("one", ResourceLimits()) is None
    assert Cgroups(home.home / "nowhere", frozenset()).create("one", ResourceLimits()) is None


def test_usage_is_counted_by_the_kernel(tmp_path: Path) -> None:
    group = RunCgroup(tmp_path, frozenset())
    counted = ResourceUsage(9, 9, 9)
    assert group.usage(counted) == counted
    (tmp_path / "cpu.stat").write_text("usage_usec 3500000\nuser_usec 3000000\nsystem_usec 500000\n")
    assert group.usage(counted) == ResourceUsage(3.0, 0.5, 9)
    (tmp_path / "memory.peak").write_text("1048576\n")
    assert group.usage(counted) == ResourceUsage(3.0, 0.5, 1 << 20)


def test_events_of_limits_are_read(tmp_path: Path) -> None:
    group = RunCgroup(tmp_path, frozenset())
    assert not group.oom_killed()
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n")
    assert not group.oom_killed()
    (tmp_path / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert group.oom_killed()


def test_what_dead_services_have_left_is_removed(tmp_path: Path) -> None:
    myself = tree.look(os.getpid())
    assert myself is not None
    (tmp_path / "farhand-run").mkdir()
    alive, dead = f"farhand-{myself.pid}-{myself.started}", f"farhand-{myself.pid}-1"
    for name in (alive, dead, "farhand-0-2"):
        (tmp_path / name / "core").mkdir(parents=True)
        (tmp_path / name / "run-one").mkdir()
    (tmp_path / "farhand-0-2" / "core" / "cgroup.procs").write_text("0\n")  # a process in another pid namespace
    remove_dead_homes(tmp_path)
    assert not (tmp_path / dead).exists()
    kept = [path.name for path in tmp_path.iterdir()]
    assert sorted(kept) == sorted([alive, "farhand-0-2", "farhand-run"])


async def test_the_end_of_a_cgroup_is_noticed_without_descriptors(tmp_path: Path) -> None:
    events = tmp_path / "cgroup.events"
    events.write_text("populated 1\n")
    census = tree.Census()
    reserve.keep()
    with events.open("r+") as file, no_descriptors():
        waiting = asyncio.create_task(RunCgroup(tmp_path, frozenset()).ended(census))
        while not census.waiting:  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
        file.write("populated 0\n")
        file.flush()
        census.child_ended()
        async with asyncio.timeout(TIMEOUT):
            await waiting


def test_one_start_removes_only_so_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_server.runs.process.cgroup.MAX_DEAD_HOMES", 2)
    for number in range(3):
        (tmp_path / f"farhand-0-{number}" / "core").mkdir(parents=True)
    remove_dead_homes(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    """Real cgroups; skips if the tests may not create them."""
    found = Cgroups.find()
    if found is None:
        pytest.skip("no cgroup v2 is delegated to the tests (systemd-run --user -p Delegate=yes has one)")
    yield found
    found.close()
    assert not found.home.exists()


@pytest.fixture
async def group(cgroups: Cgroups) -> AsyncIterator[RunCgroup]:
    """A cgroup for a run; checks that no process is left in it."""
    made = cgroups.create("one", ResourceLimits())
    assert made is not None
    async with nothing_left():
        yield made
    assert not made.path.exists()


def entering(group: RunCgroup, script: str) -> tuple[str, ...]:
    """Return a shell command that enters the cgroup before the script, as the launcher does."""
    return ("sh", "-c", f'echo 0 >"{group.path}/cgroup.procs"; {script}')


def test_the_service_has_a_cgroup_of_its_own_and_finds_it_again(cgroups: Cgroups) -> None:
    assert (cgroups.home / "core" / "cgroup.procs").read_text().split() == [str(os.getpid())]
    again = Cgroups.find()
    assert again is not None
    assert (again.home, again.controllers) == (cgroups.home, cgroups.controllers)


async def test_a_kill_ends_all_processes_in_the_cgroup(group: RunCgroup) -> None:
    daemon = "(setsid env -i /bin/sh -c 'echo $$; exec sleep 999' &); exec sleep 999"
    async with started(*entering(group, daemon), cgroup=group) as run:
        pid = await run.pid()
        assert set(group.members()) >= {pid}
        await run.killed()
        await wait_until_reaped(pid)
        assert run.process.usage().user >= 0


async def test_the_cgroup_contains_processes_that_nothing_else_identifies(group: RunCgroup) -> None:
    daemon = "ulimit -S -x unlimited; (setsid env -i /bin/sh -c 'echo $$; exec sleep 999' &)"
    async with started("bash", *entering(group, daemon)[1:], cgroup=group, run_id="one") as run:
        pid = await run.pid()
        await run.code()
        await run.killed()
        await wait_until_reaped(pid)


async def test_the_end_of_a_cgroup_can_be_waited_for(group: RunCgroup, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with started(*entering(group, f"(setsid sh -c 'echo up; read line <{fifo}' &)"), cgroup=group) as run:
        await run.line()
        await run.code()
        waiting = asyncio.create_task(group.ended())
        await asyncio.sleep(0)
        assert not waiting.done()
        fifo.write_text("go\n")
        async with asyncio.timeout(TIMEOUT):
            await waiting


async def test_term_reaches_every_process_in_the_cgroup(group: RunCgroup) -> None:
    async with started(*entering(group, "(setsid sh -c 'echo $$; exec sleep 999' &)"), cgroup=group) as run:
        pid = await run.pid()
        run.process.terminate_tree()
        await wait_until_reaped(pid)


async def test_a_program_may_create_cgroups_below_its_own(group: RunCgroup) -> None:
    async with started(
        *entering(group, f"mkdir {group.path}/in; echo 0 >{group.path}/in/cgroup.procs; echo $$; exec sleep 999"),
        cgroup=group,
    ) as run:
        pid = await run.pid()
        assert group.members() == [pid]
        await run.killed()


async def test_a_cgroup_is_removed_when_its_last_process_has_ended(group: RunCgroup) -> None:
    async with started(*entering(group, "echo $$; exec sleep 999"), cgroup=group) as run:
        pid = await run.pid()
        run.process.close()  # the process may still be alive here
        await wait_until_reaped(pid)
        async with asyncio.timeout(TIMEOUT):
            while group.path.exists():  # noqa: ASYNC110  # it waits for iterations of the loop
                await asyncio.sleep(0)


async def test_a_cgroup_with_a_process_is_not_removed(group: RunCgroup) -> None:
    async with started(*entering(group, "echo $$; exec sleep 999"), cgroup=group) as run:
        pid = await run.pid()
        assert group.remove() is False
        assert status(pid)["State"][0] in "SRD"
