"""All processes of a run are found and ended, however they hide, and no others."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_server.runs.process import tree
from tests.support.processes import TIMEOUT, end_of, status, stopped
from tests.support.started_programs import nothing_left, started, wait_until_reaped

SLEEP = "'echo $$; exec sleep 999 <&- >&- 2>&-'"
WAYS_TO_LEAVE = {
    "the background": f"sh -c {SLEEP} &",
    "a session of its own": f"setsid sh -c {SLEEP} &",
    "an orphan": f"(sh -c {SLEEP} &)",
    "an orphan in a session of its own": f"(setsid sh -c {SLEEP} &)",
    "a daemon, forked twice": '(setsid sh -c "sh -c ' + SLEEP.replace("$", "\\$") + ' &" &)',
    "nohup": f"nohup sh -c {SLEEP} &",
    "a process group of its own": f"set -m; sh -c {SLEEP} &",
    "a daemon without environment": f"(setsid env -i /bin/sh -c {SLEEP} &)",
    "a daemon without our mark": f"ulimit -S -x unlimited; (setsid sh -c {SLEEP} &)",
    "an orphan without mark and environment": f"ulimit -S -x unlimited; (env -i /bin/sh -c {SLEEP} &)",
}


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


@pytest.mark.parametrize("way", WAYS_TO_LEAVE.values(), ids=WAYS_TO_LEAVE.keys())
@pytest.mark.parametrize("leader", ["lives", "has ended"])
async def test_a_kill_ends_the_whole_tree(way: str, leader: str) -> None:
    async with started("bash", "-c", way + ("\nwait; sleep 999" if leader == "lives" else ""), run_id="one") as run:
        pid = await run.pid()
        if leader == "has ended":
            assert await run.code() == 0
        assert await run.killed() == frozenset()
        await wait_until_reaped(pid)


@pytest.mark.parametrize("way", WAYS_TO_LEAVE.values(), ids=WAYS_TO_LEAVE.keys())
async def test_another_run_of_the_same_user_is_never_killed(way: str) -> None:
    async with started("bash", "-c", way, run_id="one") as one, started("bash", "-c", way, run_id="two") as two:
        mine, other = await one.pid(), await two.pid()
        await one.code()
        await two.code()
        await one.killed()
        await wait_until_reaped(mine)
        assert status(other)["State"][0] in "SRD"
        await two.killed()
        await wait_until_reaped(other)


async def test_a_tree_that_keeps_growing_is_ended() -> None:
    # Bounded, in case this process dies.
    grow = "echo up; for n in $(seq 5000); do (setsid sh -c 'sleep 0.2; sleep 999' >/dev/null &); done; sleep 999"
    async with started("sh", "-c", grow) as run:
        await run.line()
        await run.killed()


async def test_a_process_started_between_two_passes_is_killed_while_waiting_for_the_end() -> None:
    async with started("sh", "-c", "echo up; read line; sleep 999", run_id="one") as run:
        await run.line()
        await run.killed()
        async with started("sh", "-c", f"(setsid sh -c {SLEEP} &)", env={"FARHAND_RUN_ID": "one"}) as forger:
            # It has the mark of its own run, which counts more than its environment.
            pid = await forger.pid()
            await run.killed()
            assert status(pid)["State"][0] in "SRD"


async def test_a_process_that_sets_the_mark_of_another_run_still_belongs_to_its_own() -> None:
    async with started("sleep", "999", run_id="one") as victim:
        script = f"ulimit -S -x {victim.process.mark}; (sh -c {SLEEP} &)"
        async with started("bash", "-c", script, run_id="two") as forger:
            pid = await forger.pid()
            await forger.code()
            await forger.killed()
            await wait_until_reaped(pid)


def test_the_run_is_found_in_an_environment_however_large() -> None:
    large = {f"A{number}": "x" * 100_000 for number in range(5)}
    with subprocess.Popen(["/bin/sleep", "999"], env=large | {"FARHAND_RUN_ID": "one"}) as program:
        try:
            assert tree.run_id_of(program.pid) == "one"
        finally:
            program.kill()


@pytest.mark.parametrize("place", ['(setsid sh -c "{}" &)', 'setsid sh -c "{}" &'])
async def test_term_reaches_other_sessions_and_lets_them_end_by_themselves(place: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    worker = f"trap 'echo saved >>{saved}; exit' TERM; echo up; exec >&-; while :; do sleep 0.01; done"
    async with started("sh", "-c", f"{place.format(worker)}\nsleep 999") as run:
        await run.line()
        run.process.terminate_tree()
        async with asyncio.timeout(TIMEOUT):
            await run.process.tree_ended()
    assert saved.read_text() == "saved\n"


async def test_term_reaches_a_stopped_daemon() -> None:
    async with started("sh", "-c", "(setsid sh -c 'echo $$; kill -STOP $$' &)") as run:
        pid = await run.pid()
        await stopped(pid)
        run.process.terminate_tree()
        await wait_until_reaped(pid)


async def test_a_tree_has_ended_when_its_last_process_has(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with started("sh", "-c", f"(setsid sh -c 'echo up; read line <{fifo}' &)") as run:
        await run.line()
        await run.code()
        ended = asyncio.create_task(run.process.tree_ended())
        await asyncio.sleep(0)
        assert not ended.done()
        fifo.write_text("go\n")
        async with asyncio.timeout(TIMEOUT):
            await ended


async def test_waiting_for_the_end_can_be_cancelled() -> None:
    async with started("sh", "-c", f"(setsid sh -c {SLEEP} &)") as run:
        pid = await run.pid()
        await run.code()
        waiting = asyncio.create_task(run.process.tree_ended())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert status(pid)["State"][0] in "SRD"


async def test_a_process_with_a_reused_pid_is_not_signalled() -> None:
    async with started("sleep", "999") as run:
        member = tree.look(run.process.pid)
        assert member is not None
        tree.send(member._replace(started=member.started - 1), signal.SIGKILL)
        assert not run.process.exited.done()
        tree.send(member, signal.SIGUSR1)
        assert await run.code() == -signal.SIGUSR1
        tree.send(member, signal.SIGKILL)  # the process has ended: nothing happens


async def test_a_program_may_have_any_name(tmp_path: Path) -> None:
    """The program determines the text between the parentheses in /proc/PID/stat."""
    odd = tmp_path / "a) Z 1 1"
    odd.symlink_to("/bin/sleep")
    async with started(str(odd), "999") as run:
        member = tree.look(run.process.pid)
        assert member is not None
        assert (member.parent, member.session, member.alive) == (os.getpid(), run.process.pid, True)


@pytest.mark.needs("root")
async def test_programs_that_have_become_another_user_are_returned_and_not_waited_for() -> None:
    async with started("sh", "-c", f"(setsid sh -c {SLEEP} &)") as run:
        pid = await run.pid()
        await run.code()
        await run.process.examined()
        assert [member.pid for member in run.process.others()] == [pid]  # which another user could not find out
        os.setresuid(65534, 65534, 0)
        try:
            assert await run.killed() == {pid}
        finally:
            os.setresuid(0, 0, 0)
        assert status(pid)["State"][0] in "SRD"
        os.kill(pid, signal.SIGKILL)
        await end_of(pid)


async def test_a_zombie_and_a_process_that_is_gone_are_about_to_end_and_a_living_one_is_not() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # it ends by itself, at once
    assert tree.is_exiting(child)
    os.waitpid(child, 0)  # noqa: ASYNC222  # it has ended
    assert tree.is_exiting(child)
    assert tree.name_of(child) == ""
    assert not tree.is_exiting(os.getpid())


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGKILL, True), (signal.SIGUSR1, False)])
async def test_a_process_that_was_killed_and_has_not_run_since_is_about_to_end(
    number: int, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, rest = tree.read(f"/proc/{os.getpid()}/stat").rpartition(b") ")
    fields = rest.split()
    fields[28] = b"%d" % (1 << number - 1)
    monkeypatch.setattr(tree, "read", lambda path: name + b") " + b" ".join(fields))
    assert tree.is_exiting(os.getpid()) is ends


async def test_signals_that_a_process_has_not_acted_on_are_known_also_of_a_zombie() -> None:
    blocked = [signal.SIGTERM, signal.SIGINT]
    unignored = [signal.SIGHUP, signal.SIGTERM]
    child = os.posix_spawn("/bin/sleep", ["sleep", "999"], {}, setsigmask=blocked, setsigdef=unignored)
    assert tree.pending_signals(child) == 0
    os.kill(child, signal.SIGTERM)
    assert tree.pending_signals(child) == 1 << signal.SIGTERM - 1
    os.kill(child, signal.SIGHUP)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # it ends at once
    pending = tree.pending_signals(child)
    assert (pending & 1 << signal.SIGTERM - 1, pending & 1 << signal.SIGINT - 1) == (1 << signal.SIGTERM - 1, 0)
    os.waitpid(child, 0)  # noqa: ASYNC222  # it has ended
    assert tree.pending_signals(child) == 0
