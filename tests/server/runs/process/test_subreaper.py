"""The service adopts and reaps the orphans of its runs, and leaves children that others started alone."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_server.runs.process import subreaper, tree
from farhand_server.runs.process.meter import MeterSnapshot
from farhand_server.runs.process.process import LeaderSnapshot, Process, prepare_loop
from tests.support.processes import TIMEOUT, children, descriptors, end_of, reaped, wait_for_end
from tests.support.started_programs import nothing_left, started, wait_until_reaped


@pytest.fixture
async def ready() -> AsyncIterator[None]:
    """Prepare the loop for processes; check that nothing is left at the end."""
    async with nothing_left():
        yield


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("shell", ["(sh -c '{0}' &)", "(setsid sh -c '{0}' &)", "(setsid env -i /bin/sh -c '{0}' &)"])
async def test_an_orphan_that_ends_during_its_run_is_reaped_at_once(shell: str) -> None:
    async with started("sh", "-c", shell.format("echo $$; exec sleep 999") + "; exec sleep 999") as run:
        pid = await run.pid()
        os.kill(pid, signal.SIGKILL)
        await wait_until_reaped(pid)
        assert not run.process.exited.done()


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("rest", "names"), [("exit", ["sleep"]), ("exec sleep 999", [])])
async def test_an_orphan_that_is_hung_up_is_named_before_it_is_reaped(rest: str, names: list[str]) -> None:
    async with started("sh", "-c", f"(sh -c 'sleep 999 & echo $!; wait' &) ; {rest}") as run:
        pid = await run.pid()
        if rest == "exit":
            await run.code()
        async with asyncio.timeout(TIMEOUT):
            while tree.name_of(pid) != "sleep":  # noqa: ASYNC110  # an execve has no event
                await asyncio.sleep(0)
        parent = tree.look(pid)
        assert parent is not None
        os.kill(parent.parent, signal.SIGKILL)
        await wait_until_reaped(parent.parent)
        os.kill(pid, signal.SIGHUP)
        await wait_until_reaped(pid)
        assert list(run.process.hung_up.values()) == names


ESCAPE = (
    "ulimit -S -x unlimited; for i in $(seq {0}); do"
    " (setsid env -i sh -c 'echo $$; exec {1} /bin/sleep 999 >&- <&- 2>&-' &); done"
)
"""Nothing connects these processes with their run once it is over: they have another session and mark and no id."""


@pytest.mark.parametrize("clear", ["", "env -i"])
async def test_an_orphan_that_nobody_claims_lives_on_and_is_reaped_at_its_end(clear: str) -> None:
    async with nothing_left(sole_parent=True):
        async with started("bash", "-c", ESCAPE.format(1, clear)) as run:
            pid = await run.pid()
            await run.code()
            await run.killed()
            assert (orphan := tree.look(pid)) is not None
            assert orphan.alive
        os.kill(pid, signal.SIGKILL)
        await wait_until_reaped(pid)


async def test_a_child_that_asyncio_waits_for_is_no_orphan_that_nobody_claims() -> None:
    async with nothing_left(sole_parent=True):
        child = await asyncio.create_subprocess_exec("sh", "-c", "read x; exit 7", stdin=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(b"\n")
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # the loop must not run meanwhile
        subreaper.current().reap()
        assert await child.wait() == 7


async def test_an_orphan_that_nobody_claims_is_examined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with nothing_left(sole_parent=True):
        async with started("bash", "-c", ESCAPE.format(5, "")) as run:
            pids = [await run.pid() for _ in range(5)]
            await run.code()
            await run.killed()
            await run.process.examined()
        async with asyncio.timeout(TIMEOUT):
            while subreaper.current().census.undetermined:  # noqa: ASYNC110  # one was seen in its execve(2)
                await asyncio.sleep(0.01)
        looked_at: list[int] = []
        look = tree.look

        def noting(pid: int) -> tree.Member | None:
            looked_at.append(pid)
            return look(pid)

        monkeypatch.setattr(tree, "look", noting)
        async with started("true") as another:
            await another.code()
            await another.killed()
        assert not set(looked_at) & set(pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


async def test_a_child_that_seems_to_have_no_environment_is_examined_a_few_times_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subreaper, "RETRIES", (0.0, 0.0))
    looks: dict[int, list[int]] = {}
    done = asyncio.Event()
    run_id_of = tree.run_id_of

    def noting(child: int, count: int) -> str | None:
        looks.setdefault(child, []).append(count)
        if len(looks[child]) == 3:
            done.set()
        return run_id_of(child, count)

    async with nothing_left(sole_parent=True):
        async with started("bash", "-c", ESCAPE.format(1, "env -i")) as run:
            pid = await run.pid()
            await run.code()
            async with asyncio.timeout(TIMEOUT):
                while tree.name_of(pid) != "sleep":  # noqa: ASYNC110  # an execve has no event
                    await asyncio.sleep(0)
            monkeypatch.setattr(tree, "run_id_of", noting)
            run.process.others()
            async with asyncio.timeout(TIMEOUT):
                await done.wait()
            run.process.others()
        os.kill(pid, signal.SIGKILL)
        await wait_until_reaped(pid)
    assert looks[pid] == [tree.EXEC_LOOKS, 1, 1]


@pytest.mark.usefixtures("ready")
async def test_children_are_examined_over_many_turns_if_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subreaper, "MAX_EXAMINE_TIME", 0.0)
    async with started("bash", "-c", "for i in 1 2 3 4 5; do (setsid sleep 999 >&- &); done") as run:
        await run.code()
        await run.process.examined()
        assert len(run.process.others()) == 5


@pytest.mark.usefixtures("ready")
async def test_a_process_that_outlives_its_run_is_killed_and_reaped() -> None:
    async with started("sh", "-c", "(setsid sh -c 'echo $$; exec sleep 999' &)") as run:
        pid = await run.pid()
        await run.code()
        run.process.close()
        await wait_until_reaped(pid)


@pytest.mark.usefixtures("ready")
async def test_a_leader_whose_run_is_closed_is_still_reaped() -> None:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    process = await Process.start([b"sleep", b"999"], cwd=b"/", env={}, stdin=null, stdout=null, stderr=null)
    os.close(null)
    process.close()
    await wait_until_reaped(process.pid)


@pytest.mark.usefixtures("ready")
async def test_children_of_other_parts_of_the_service_are_left_to_them() -> None:
    async with started("sh", "-c", "sleep 999") as run:
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", "exit 7", start_new_session=True, env={"FARHAND": "1", "PATH": os.environ["PATH"]}
        )
        await run.killed()
        async with started("true") as another:
            await another.code()
        assert await child.wait() == 7


@pytest.mark.usefixtures("ready")
async def test_a_zombie_that_others_wait_for_does_not_hide_an_orphan() -> None:
    with subprocess.Popen(["sh", "-c", "exit 7"], start_new_session=True) as child:
        await end_of(child.pid)
        async with started("sh", "-c", "(setsid sh -c 'echo $$; exec sleep 999' &); exit 3") as run:
            pid = await run.pid()
            assert await run.code() == 3
            await run.killed()
            await wait_until_reaped(pid)
        assert child.wait() == 7


@pytest.mark.usefixtures("ready")
async def test_a_zombie_that_cannot_be_inspected_without_descriptors_does_not_hide_a_leader() -> None:
    async with started("sh", "-c", "(setsid sh -c 'echo $$; exec sleep 999' &); exec sleep 999") as run:
        daemon = await run.pid()
        while daemon not in children(os.getpid()):  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
        async with started("sleep", "999") as later:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
            try:
                os.kill(daemon, signal.SIGKILL)
                os.waitid(os.P_PID, daemon, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # the loop must not run meanwhile
                later.process.signal(signal.SIGKILL)
                assert await later.code() == -signal.SIGKILL
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await wait_until_reaped(daemon)


@pytest.mark.usefixtures("ready")
async def test_the_processor_time_of_a_leader_is_counted() -> None:
    async with started("sh", "-c", "i=0; while [ $i -lt 99999 ]; do i=$((i + 1)); done; times") as run:
        shell = re.fullmatch(r"0m(\S+)s 0m(\S+)s", await run.line())
        assert await run.code() == 0
        usage = run.process.usage()
    assert shell is not None
    assert usage.user + usage.system >= float(shell[1]) + float(shell[2]) > 0


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("each", [10, pytest.param(100, marks=pytest.mark.long)])
async def test_many_runs_leave_no_descriptor_and_no_zombie(each: int) -> None:
    others = children(os.getpid())
    before = descriptors(os.getpid())
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    async def runs(count: int) -> None:
        for _ in range(count):
            process = await Process.start([b"true"], cwd=b"/", env={}, stdin=null, stdout=null, stderr=null)
            assert await process.exited == 0
            process.kill_tree()
            await process.tree_ended()
            process.close()

    async with asyncio.timeout(TIMEOUT * 2):
        await asyncio.gather(*(runs(each) for _ in range(10)))
    os.close(null)
    await reaped(others)
    assert descriptors(os.getpid()) <= before


async def test_a_loop_has_to_be_prepared() -> None:
    with pytest.raises(RuntimeError, match="prepare_loop"):
        subreaper.current()


def unreaped(pid: int) -> LeaderSnapshot:
    """Return the snapshot of a leader that has not been reaped."""
    return LeaderSnapshot(pid, 0, None, MeterSnapshot(0.0, 0.0, 0, 0))


@pytest.mark.parametrize("ended", ["before", "after"])
async def test_a_child_of_the_previous_program_is_adopted_with_its_exit_code(ended: str) -> None:
    child = subprocess.Popen(
        ["sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE, start_new_session=True, env={"FARHAND_RUN_ID": "one"}
    )
    assert child.stdin is not None
    if ended == "before":
        child.stdin.close()
        await end_of(child.pid)
    prepare_loop([child.pid])
    async with started("true") as another:  # a SIGCHLD before the adoption does not reap the child
        await another.code()
    process = Process.restore(unreaped(child.pid), run_id="one")
    child.stdin.close()
    async with asyncio.timeout(TIMEOUT):
        assert await process.exited == 7
    assert process.usage().user >= 0
    process.close()
    child.returncode = 7


async def test_children_that_nobody_claims_are_examined_once_while_leaders_are_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subreaper, "MAX_EXAMINE_TIME", 0.0)  # one child a turn
    nobodys = [subprocess.Popen(["sleep", "999"], env={"NO": "ID"}) for _ in range(3)]
    child = subprocess.Popen(["sleep", "999"], start_new_session=True, env={"FARHAND_RUN_ID": "one"})
    prepare_loop([child.pid])
    async with started("true") as another:  # its end waits until all children have been examined
        await another.code()
    process = Process.restore(unreaped(child.pid), run_id="one")
    process.close()
    await wait_until_reaped(child.pid)
    child.returncode = -signal.SIGKILL
    for nobody in nobodys:
        with nobody:
            nobody.kill()


async def test_a_child_whose_environment_is_read_late_is_not_looked_for_again_while_leaders_are_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subreaper, "RETRIES", (0.0, 0.0))
    nobody = subprocess.Popen(["sleep", "999"], env={"NO": "ID"})
    child = subprocess.Popen(["sleep", "999"], start_new_session=True, env={"FARHAND_RUN_ID": "one"})
    answers = iter([""])  # once it seems to have none
    run_id_of = tree.run_id_of
    monkeypatch.setattr(
        tree, "run_id_of", lambda pid, looks: next(answers, None) if pid == nobody.pid else run_id_of(pid, looks)
    )
    prepare_loop([child.pid])
    subreaper.current().examine()
    assert next(answers, None) is None
    async with asyncio.timeout(TIMEOUT):
        while subreaper.current().census.undetermined:  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
    Process.restore(unreaped(child.pid), run_id="one").close()
    await wait_until_reaped(child.pid)
    child.returncode = -signal.SIGKILL
    nobody.kill()
    assert nobody.wait() == -signal.SIGKILL


async def test_a_process_that_is_not_a_child_is_not_adopted() -> None:
    async with nothing_left():
        with pytest.raises(ChildProcessError, match="not a child"):
            Process.restore(unreaped(os.getppid()))


LEAVES_A_RUN = """
import asyncio, os
from farhand_server.runs.process.process import Process, prepare_loop

async def main():
    asyncio.get_running_loop().slow_callback_duration = 999  # a busy machine is no reason to warn
    prepare_loop()
    null = os.open("/dev/null", os.O_RDWR)
    process = await Process.start([b"/bin/sleep", b"999"], cwd=b"/", env={}, stdin=null, stdout=null, stderr=null)
    print(process.pid)

asyncio.run(main())
"""


async def test_a_loop_that_ends_before_its_runs_leaves_them_alone_without_warnings() -> None:
    service = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "dev", "-W", "error", "-c", LEAVES_A_RUN),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(TIMEOUT):
        out, err = await service.communicate()
    assert tree.look(int(out)) is not None
    os.kill(int(out), signal.SIGKILL)
    wait_for_end(int(out))
    assert (err, service.returncode) == (b"", 0)


RE_EXEC = """
import asyncio, os, sys
from farhand_server.runs.process.process import LeaderSnapshot, Process, prepare_loop
from farhand_server.runs.process.meter import MeterSnapshot

async def before():
    prepare_loop()
    argv = [b"sh", b"-c", b"(setsid env -i /bin/sh -c 'echo $$; exec sleep 999 >&-' &); read line; exit 5"]
    reading, writing = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    env = {b"PATH": os.environb[b"PATH"]}
    process = await Process.start(argv, cwd=b"/", env=env, stdin=reading, stdout=1, stderr=2)
    os.set_inheritable(writing, True)
    os.execv(sys.executable, [sys.executable, __file__, str(process.pid), str(writing)])

async def after(pid, writing):
    prepare_loop([pid])
    await asyncio.sleep(0)
    process = Process.restore(LeaderSnapshot(pid, 0, None, MeterSnapshot(0.0, 0.0, 0, 0)))
    os.close(writing)
    print("code", await process.exited, flush=True)
    process.kill_tree()
    await process.tree_ended()
    process.close()
    print("ended", open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)

asyncio.run(after(int(sys.argv[1]), int(sys.argv[2])) if sys.argv[1:] else before())
"""


async def test_a_service_that_executes_itself_again_keeps_its_runs_and_their_orphans(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(RE_EXEC)
    service = await asyncio.create_subprocess_exec(sys.executable, script, stdout=subprocess.PIPE)
    assert service.stdout is not None
    async with asyncio.timeout(TIMEOUT):
        daemon = int(await service.stdout.readline())
        assert await service.stdout.readline() == b"code 5\n"
        assert await service.stdout.readline() == b"ended \n"
        assert await service.wait() == 0
    assert not Path(f"/proc/{daemon}").exists()
