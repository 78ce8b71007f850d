"""Processes left by a dead service are found and ended, and no others."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from farhand_server.history import RunRecord
from farhand_server.runs.process.orphans import boot_id, end_orphans
from farhand_server.runs.process.tree import look
from tests.support.history import LogFile, record
from tests.support.processes import children, wait_for_end

# Unique to this process: the search covers the whole machine, and tests run in parallel.
ID, OTHER = str(uuid.uuid4()), str(uuid.uuid4())


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[LogFile]:
    lines = LogFile(tmp_path)
    yield lines
    lines.close()


class OrphanStarter:
    """Starts processes such as a dead service leaves behind: each prints its pid and sleeps."""

    def __init__(self) -> None:
        self._others = set(children(os.getpid()))
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, script: str, *, run: str | None = ID, pids: int = 1) -> list[int]:
        """Start a shell in a session of its own; return the pids it prints, its own first."""
        environment = {"PATH": os.environ["PATH"]} | ({"FARHAND_RUN_ID": run} if run else {})
        process = subprocess.Popen(
            ["sh", "-c", f"echo $$; {script}"], env=environment, stdout=subprocess.PIPE, start_new_session=True
        )
        self.started.append(process)
        assert process.stdout is not None
        return [int(process.stdout.readline()) for _ in range(pids)]

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        for pid in set(children(os.getpid())) - self._others:  # this process may have adopted what they left
            wait_for_end(pid)


@pytest.fixture
def left() -> Iterator[OrphanStarter]:
    left = OrphanStarter()
    yield left
    left.close()


def lost(pid: int) -> RunRecord:
    """The record of a lost run whose leader was this process."""
    member = look(pid)
    assert member is not None
    return replace(record(ID), pid=pid, start_ticks=member.started, boot_id=boot_id())


def alive(pid: int) -> bool:
    member = look(pid)
    return member is not None and member.alive


async def test_a_leader_and_its_session_are_ended_and_logged(left: OrphanStarter, lines: LogFile) -> None:
    leader, child = left.start("env -i sleep 999 & echo $!; wait", pids=2)
    swept = await end_orphans([lost(leader)], lines.logger)
    assert not alive(leader)
    assert not alive(child)
    assert {orphan.pid for orphan in swept.ended} == {leader, child}
    assert {orphan.run for orphan in swept.ended} == {ID}
    assert swept.clean == (ID,)
    assert f'level=warning msg="processes of a lost run ended" run={ID} count=2' in str(lines)


async def test_a_process_in_the_session_is_found_without_parent_or_environment(
    left: OrphanStarter, lines: LogFile
) -> None:
    leader, adopted = left.start("(env -i sh -c 'echo $$; exec sleep 999' &) ; sleep 999", pids=2)
    await end_orphans([lost(leader)], lines.logger)
    assert not alive(adopted)


async def test_a_process_that_has_left_the_session_is_known_by_its_environment(
    left: OrphanStarter, lines: LogFile
) -> None:
    leader, daemon = left.start("setsid sh -c 'echo $$; exec sleep 999' & wait", pids=2)
    swept = await end_orphans([lost(leader)], lines.logger)
    assert not alive(daemon)
    assert {leader, daemon} == {orphan.pid for orphan in swept.ended}


async def test_a_process_that_has_left_session_and_environment_is_known_by_its_mark(
    left: OrphanStarter, lines: LogFile
) -> None:
    # Unlike a random number, these are no mark of a service that runs on this machine.
    mark, other = (1 << 62) + os.getpid(), (1 << 62) + (1 << 30) + os.getpid()
    _, daemon = left.start(marked(mark, "setsid env -i sh -c 'echo $$; exec sleep 999' & read line"), run=None, pids=2)
    _, stranger = left.start(
        marked(other, "setsid env -i sh -c 'echo $$; exec sleep 999' & read line"), run=None, pids=2
    )
    now = replace(record(ID), boot_id=boot_id(), mark=mark)
    await end_orphans([replace(now, boot_id="another boot"), record(OTHER)], lines.logger)
    assert alive(daemon)
    await end_orphans([now], lines.logger)
    assert (alive(daemon), alive(stranger)) == (False, True)
    os.kill(stranger, signal.SIGKILL)


def marked(mark: int, script: str) -> str:
    """Return a script that runs with this mark."""
    setting = (
        f"import os, resource, sys; resource.setrlimit(10, ({mark}, -1)); os.execvp('sh', ['sh', '-c', sys.argv[1]])"
    )
    return shlex.join([sys.executable, "-I", "-S", "-c", setting, script])


async def test_processes_of_a_run_without_a_recorded_leader_are_found_by_their_environment(
    left: OrphanStarter, lines: LogFile
) -> None:
    _, daemon = left.start("setsid sh -c 'echo $$; exec sleep 999' & read line", pids=2)
    swept = await end_orphans([record(ID)], lines.logger)
    assert not alive(daemon)
    assert swept.clean == (ID,)


async def test_hidden_descendants_are_found_by_their_ancestors(left: OrphanStarter, lines: LogFile) -> None:
    leader, hidden = left.start("setsid env -i sh -c 'echo $$; sleep 999' & wait", pids=2)
    await end_orphans([lost(leader)], lines.logger)
    assert not alive(hidden)


async def test_an_unrelated_process_with_the_same_pid_is_left_alone(left: OrphanStarter, lines: LogFile) -> None:
    (unrelated,) = left.start("exec sleep 999", run=None)
    earlier = lost(unrelated)
    assert earlier.start_ticks is not None
    swept = await end_orphans([replace(earlier, start_ticks=earlier.start_ticks - 1)], lines.logger)
    assert alive(unrelated)
    assert swept.ended == ()
    assert swept.clean == (ID,)
    assert str(lines) == ""


async def test_nothing_is_left_of_runs_of_another_boot(left: OrphanStarter, lines: LogFile) -> None:
    (unrelated,) = left.start("exec sleep 999")
    swept = await end_orphans([replace(lost(unrelated), boot_id="another")], lines.logger)
    assert alive(unrelated)
    assert (swept.ended, swept.clean) == ((), (ID,))


async def test_other_runs_and_their_processes_are_left_alone(left: OrphanStarter, lines: LogFile) -> None:
    (mine,) = left.start("exec sleep 999")
    (others,) = left.start("exec sleep 999", run=OTHER)
    await end_orphans([lost(mine)], lines.logger)
    assert not alive(mine)
    assert alive(others)


async def test_a_tree_that_grows_while_it_is_killed_is_ended(left: OrphanStarter, lines: LogFile) -> None:
    """Its new processes share neither its session nor its environment, and have a parent only for a moment."""
    mark = f"{os.getpid()}.25"
    leader = left.start(f"for n in $(seq 3000); do env -i setsid sleep 9{mark} & done; wait")[
        0
    ]  # bounded, should this process die
    swept = await end_orphans([lost(leader)], lines.logger)
    assert swept.clean == (ID,)
    sleepers = [
        pid for pid in (int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit()) if has_argument(pid, mark)
    ]
    assert sleepers == []


def has_argument(pid: int, text: str) -> bool:
    """Return whether a living process has the text in its arguments."""
    try:
        return alive(pid) and text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and pid != os.getpid()
    except OSError:
        return False


async def test_a_service_started_inside_a_lost_run_does_not_end_itself(tmp_path: Path) -> None:
    """The service, and the shell it was started from, carry the id of the run."""
    code = (
        "import asyncio, sys\n"
        "from farhand_server.runs.process.orphans import end_orphans\n"
        "from farhand_server.logs import Logger, LogSink\n"
        "from tests.support.history import record\n"
        f"print(asyncio.run(end_orphans([record({ID!r})], Logger(LogSink(), {{}}))).ended)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", '"$0" -c "$1"; echo shell continues', sys.executable, code),
        env=os.environ | {"FARHAND_RUN_ID": ID, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    out, _ = await process.communicate()
    assert out.splitlines() == [b"()", b"shell continues"]


async def test_a_cgroup_of_another_name_is_not_killed(left: OrphanStarter, lines: LogFile, tmp_path: Path) -> None:
    (tmp_path / "cgroup.kill").touch()
    swept = await end_orphans([replace(record(ID), cgroup=str(tmp_path))], lines.logger)
    assert (tmp_path / "cgroup.kill").read_text() == ""
    assert swept.clean == (ID,)


async def test_the_cgroup_of_the_run_is_killed_and_one_that_remains_is_logged(lines: LogFile, tmp_path: Path) -> None:
    group = tmp_path / f"run-{ID}"
    group.mkdir()
    (group / "cgroup.kill").touch()  # a plain directory keeps its files and cannot be removed
    swept = await end_orphans([replace(record(ID), cgroup=str(group), boot_id=boot_id())], lines.logger)
    assert (group / "cgroup.kill").read_text() == "1"
    assert swept.clean == ()
    assert "cgroup of a lost run could not be emptied" in str(lines)


async def test_a_missing_cgroup_counts_as_clean(lines: LogFile, tmp_path: Path) -> None:
    swept = await end_orphans([replace(record(ID), cgroup=str(tmp_path / f"run-{ID}"))], lines.logger)
    assert swept.clean == (ID,)


async def test_processes_have_ended_when_end_orphans_returns(left: OrphanStarter, lines: LogFile) -> None:
    leader, _ = left.start("trap '' TERM; echo $$; sleep 999 & wait", pids=2)
    await end_orphans([lost(leader)], lines.logger)
    assert not alive(leader)
