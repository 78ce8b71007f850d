"""A started program: its exit, the errors of a start, its limits."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_server.credentials import Credentials
from farhand_server.runs.process import subreaper
from farhand_server.runs.process.cgroup import RunCgroup
from farhand_server.runs.process.place import LaunchError
from farhand_server.runs.process.process import Process
from farhand_server.runs.process.tracked import TrackedRun
from farhand_server.runs.process.usage import ResourceLimits
from tests.support.processes import TIMEOUT, children, descriptors, no_descriptors
from tests.support.started_programs import nothing_left, started, wait_until_reaped


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


async def start(*argv: bytes, cwd: bytes = b"/", env: dict[bytes, bytes] | None = None) -> Process:
    """Start a program on /dev/null."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return await Process.start(argv, cwd=cwd, env=env or {}, stdin=null, stdout=null, stderr=null)
    finally:
        os.close(null)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -TERM $$", -signal.SIGTERM)]
)
async def test_the_exit_code_shows_how_a_program_ended(script: str, code: int) -> None:
    async with started("sh", "-c", script) as run:
        assert await run.code() == code


async def start_own(*argv: bytes, passed: int, limits: ResourceLimits = ResourceLimits()) -> Process:  # noqa: B008  # frozen
    """Start a program of the service itself, with a pipe as stdout."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return await Process.start_own(
            argv,
            env={b"FD": b"%d" % passed},
            stdin=null,
            stdout=passed,
            stderr=null,
            passed=(passed,),
            run_id="x",
            limits=limits,
            cgroup=None,
        )
    finally:
        os.close(null)


@pytest.mark.parametrize("limits", [ResourceLimits(), ResourceLimits(files=20)])
async def test_a_program_of_the_service_itself_inherits_a_descriptor_and_starts_in_the_root(
    limits: ResourceLimits,
) -> None:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    process = await start_own(b"/bin/sh", b"-c", b"pwd >/proc/self/fd/$FD; ulimit -n", passed=writing, limits=limits)
    os.close(writing)
    assert await process.exited == 0
    with os.fdopen(reading) as output:
        directory, files = output.read().split()
    assert directory == "/"
    assert limits.files is None or files == "20"
    process.close()


async def test_a_program_of_the_service_itself_that_is_missing_is_named() -> None:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with pytest.raises(LaunchError, match="/no/such/program") as error:
        await start_own(b"/no/such/program", passed=writing)
    assert error.value.errno == errno.ENOENT
    os.close(reading)
    os.close(writing)


async def test_programs_that_end_at_once_each_have_their_own_code() -> None:
    programs = [await start(b"sh", b"-c", b"exit %d" % code, env={b"PATH": os.environb[b"PATH"]}) for code in range(64)]
    assert [await program.exited for program in programs] == list(range(64))
    for program in programs:
        program.close()


async def test_a_program_leads_a_session_and_a_group_of_its_own() -> None:
    async with started("sleep", "999") as run:
        pid = run.process.pid
        assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)


async def test_no_process_is_signalled_after_the_end() -> None:
    async with started("true") as run:
        await run.code()
        assert run.process.signal(signal.SIGKILL) is False


async def test_a_signal_reaches_the_group_after_its_leader_has_ended() -> None:
    async with started("sh", "-c", "(trap 'echo got; exit' USR1; echo up; while :; do sleep 0.01; done) & exit") as run:
        assert await run.line() == "up"
        await run.code()
        assert run.process.signal(signal.SIGUSR1) is True
        assert await run.line() == "got"


FAILURES: dict[str, tuple[tuple[bytes, ...], bytes, int, str]] = {
    "no program": ((b"/nowhere/it",), b"/", errno.ENOENT, "program"),
    "not executable": ((b"/etc/passwd",), b"/", errno.EACCES, "program"),
    "a directory": ((b"/etc",), b"/", errno.EACCES, "program"),
    "no directory": ((b"true",), b"/nowhere", errno.ENOENT, "directory"),
    "too much": ((b"true", b"x" * (256 << 10)), b"/", errno.E2BIG, "process"),
}


@pytest.mark.parametrize(("argv", "cwd", "number", "what"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failed_start_has_its_reason_and_leaves_nothing(
    argv: tuple[bytes, ...], cwd: bytes, number: int, what: str
) -> None:
    before = descriptors(os.getpid())
    for _ in range(100):
        with pytest.raises(LaunchError) as caught:
            await start(*argv, cwd=cwd)
        assert (caught.value.errno, caught.value.what) == (number, what)
    assert descriptors(os.getpid()) <= before


@pytest.mark.needs("root")
async def test_a_program_starts_in_the_directory_that_was_checked_even_if_its_path_has_been_replaced(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path_factory.mktemp("closed")
    (closed / "below").mkdir()
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        place = Path(open_to_all, "place")
        (Path(open_to_all) / "own").mkdir()
        place.symlink_to("own")
        begin = subreaper.current().start

        async def swap(*args: Any, **options: Any) -> TrackedRun:
            place.unlink()
            place.symlink_to(closed / "below")
            return await begin(*args, **options)

        monkeypatch.setattr(subreaper.current(), "start", swap)
        program = (b"/bin/sh", b"-c", b'test . -ef "$1"', b"sh", os.fsencode(Path(open_to_all, "own")))
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        nobody = Credentials("nobody", 65534, 65534, (65534,))
        process = await Process.start(
            program, cwd=os.fsencode(place), env={}, stdin=null, stdout=null, stderr=null, credentials=nobody
        )
        os.close(null)
        code = await process.exited
        process.close()
        assert code == 0


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("ended", [False, True])
async def test_a_start_that_is_cancelled_leaves_nothing(turns: int, ended: bool) -> None:
    """Both while its program runs and when it has ended but is not reaped."""
    starting = asyncio.create_task(start(*((b"/bin/true",) if ended else (b"/bin/sleep", b"999"))))
    others = set(children(os.getpid()))
    for _ in range(turns):
        await asyncio.sleep(0)
    if ended:
        for pid in set(children(os.getpid())) - others:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # no turn of the loop meanwhile
    starting.cancel()
    try:
        async with asyncio.timeout(TIMEOUT):
            (await starting).close()
    except asyncio.CancelledError:
        assert starting.cancelled()


async def test_a_start_takes_one_turn_of_the_loop_so_that_nothing_can_cancel_it_halfway() -> None:
    before = asyncio.all_tasks()
    starting = asyncio.create_task(start(b"/bin/sleep", b"999"))
    await asyncio.sleep(0)
    assert starting.done()
    for task in asyncio.all_tasks() - before:  # what asyncio has started for itself
        task.cancel()
    process = starting.result()
    process.kill_tree()
    assert await process.exited == -signal.SIGKILL
    process.close()


async def test_a_run_can_be_ended_without_free_descriptors() -> None:
    """Its daemon cannot be inspected then; it is killed at the end of the next run."""
    async with started("sh", "-c", "(setsid sh -c 'echo $$; exec sleep 999' &); exec sleep 999") as run:
        pid = await run.pid()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            run.process.kill_tree()
            assert await run.code() == -signal.SIGKILL
            run.process.close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert Path(f"/proc/{pid}").exists()
        async with started("true") as another:
            await another.code()
        await wait_until_reaped(pid)


def known_over(process: Process) -> bool:
    """Return whether a run is known to be over."""
    return process.over


async def test_a_run_without_other_processes_is_over_after_one_look_at_the_services_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with started("true") as run, started("sleep", "999") as another:
        await run.code()
        assert not known_over(run.process)
        await run.process.examined()
        assert known_over(run.process)
        with monkeypatch.context() as patched:
            for name in ("listdir", "open", "pread", "pidfd_open"):
                patched.delattr(os, name)
            assert run.process.others() == []
            assert run.process.kill_tree() == frozenset()
        await run.process.tree_ended()
        await another.killed()


async def test_a_run_is_not_over_while_one_of_its_processes_lives() -> None:
    async with started("sh", "-c", "(setsid sleep 999 >&- 2>&- &)") as run:
        await run.code()
        await run.process.examined()
        assert not known_over(run.process)
        await run.killed()
        await run.process.examined()
        assert known_over(run.process)


async def test_a_run_in_a_cgroup_is_never_known_to_be_over(tmp_path: Path) -> None:
    async with started("true", cgroup=RunCgroup(tmp_path / "run-1", frozenset())) as run:
        await run.code()
        await run.process.examined()
        assert not known_over(run.process)


LIMITS = {
    "cpu": ("ulimit -S -t 1; while :; do :; done", ResourceLimits(cpu=1), -signal.SIGXCPU, "cpu"),
    "cpu, hard limit": (
        # The kernel counts ticks: on a loaded machine it kills at 0.7 of the time that wait4(2) then reports.
        "ulimit -t 2; trap '' XCPU; while :; do :; done",
        ResourceLimits(cpu=1),
        -signal.SIGKILL,
        "cpu",
    ),
    "file size": (
        "ulimit -f 1; exec dd if=/dev/zero of=$FILE",
        ResourceLimits(file_size=1024),
        -signal.SIGXFSZ,
        "file_size",
    ),
    "a kill by someone": ("kill -9 $$", ResourceLimits(cpu=1, file_size=1), -9, None),
    "nothing": ("exit 3", ResourceLimits(cpu=1), 3, None),
}


@pytest.mark.parametrize(("script", "limits", "code", "hit"), LIMITS.values(), ids=LIMITS.keys())
async def test_a_limit_that_ends_a_program_is_named(
    script: str, limits: ResourceLimits, code: int, hit: str | None, tmp_path: Path
) -> None:
    async with started("sh", "-c", script, limits=limits, env={"FILE": str(tmp_path / "file")}) as run:
        assert await run.code() == code
        assert run.process.limit_hit() == hit


async def test_the_result_names_what_enforces_each_limit(tmp_path: Path) -> None:
    limits = ResourceLimits(memory=1 << 30, cpu=1.0, processes=10)
    async with started("true", limits=limits) as run:
        assert run.process.applied == {"memory": "rlimit", "cpu": "rlimit", "processes": "rlimit"}
    async with started("true", limits=limits, cgroup=RunCgroup(tmp_path / "run-1", frozenset({"memory"}))) as run:
        assert run.process.applied == {"memory": "cgroup", "cpu": "rlimit", "processes": "rlimit"}


async def test_a_run_ends_with_all_its_processes_although_no_descriptor_is_left() -> None:
    daemon = "(setsid sh -c 'sleep 999 & echo $$; wait' &)"
    async with nothing_left(), started("sh", "-c", f"{daemon}; {daemon}; exec sleep 999") as run:
        pids = [await run.pid(), await run.pid()]
        with no_descriptors():
            os.kill(run.process.pid, signal.SIGKILL)
            assert await run.code() == -signal.SIGKILL
            await run.process.examined()
            assert {member.pid for member in run.process.others()} >= set(pids)
            assert await run.killed() == frozenset()
            assert not run.process.others()


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE])
async def test_a_run_ends_with_all_its_processes_although_the_kernel_gives_no_pidfd(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(pid: int) -> int:
        raise OSError(number, os.strerror(number))

    async with nothing_left(), started("sh", "-c", "(setsid sh -c 'sleep 999 & echo $$; wait' &)") as run:
        pid = await run.pid()
        assert await run.code() == 0
        monkeypatch.setattr(os, "pidfd_open", refusing)
        assert await run.killed() == frozenset()
        assert not Path(f"/proc/{pid}").exists()
        monkeypatch.undo()
