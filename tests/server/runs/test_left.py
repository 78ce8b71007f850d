"""What a run says about processes that its program leaves behind, and what becomes of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol.left import LeftProcesses
from farhand_protocol.outcome import Exited, Killed, Signaled, TimedOut
from farhand_server.runs.left import LeftRuns
from farhand_server.runs.plan import RunResult, TerminalPlan
from farhand_server.runs.process import subreaper
from farhand_server.runs.process.process import prepare_loop
from tests.support.processes import TIMEOUT, end_of, reaped
from tests.support.registry import Service, plan

SILENT = "exec >/dev/null 2>&1"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A registry on a loop prepared for processes."""
    prepare_loop()
    one = Service(tmp_path)
    yield one
    for run in one.registry.left:
        living = one.registry.left.get(run.id)
        assert living is not None
        await living.stop(signal.SIGKILL, 0)
    one.registry.close()
    await reaped(one.others)


async def ended(service: Service, *argv: str, **fields: Any) -> RunResult:
    """Run a command to its end."""
    _, watcher = service.start(plan(*argv, **{"linger": 5.0} | fields))
    async with asyncio.timeout(TIMEOUT):
        await watcher.finished.wait()
    assert watcher.result is not None
    return watcher.result


def sh(script: str) -> tuple[str, str, str]:
    return "sh", "-c", script


# Each script waits until its processes are called "sleep", which they are after their execve.
NAMED = "for p in {}; do until grep -qx sleep /proc/$p/comm; do :; done; done"
STOPPED = "until grep -q '^State:.T' /proc/$!/status; do :; done"


@pytest.mark.parametrize(
    "script",
    [
        f"{SILENT}; nohup sleep 999 & {NAMED.format('$!')}",
        f"sleep 999 & {NAMED.format('$!')}",
        f"(setsid sleep 999 >/dev/null 2>&1 & {NAMED.format('$!')})",
        f"(setsid env -i sleep 999 >/dev/null 2>&1 & {NAMED.format('$!')}); exit 3",
    ],
)
async def test_a_process_left_behind_is_stopped_and_named(service: Service, script: str) -> None:
    result = await ended(service, *sh(script), linger=0.2)
    assert isinstance(result.outcome, Exited)
    assert result.left_processes == LeftProcesses(count=1, names=("sleep",), stopped=True)


@pytest.mark.parametrize(
    "script", ["true", "(sleep 0.2 >/dev/null 2>&1 &)", "(sleep 0.2 &)", f"{SILENT}; true & exit 0", "yes | head -1"]
)
async def test_nothing_is_said_of_processes_that_end_by_themselves(service: Service, script: str) -> None:
    result = await ended(service, *sh(script))
    assert (result.outcome, result.left_processes) == (Exited(code=0), None)


async def test_nothing_is_said_if_the_run_was_stopped(service: Service) -> None:
    script = f"{SILENT}; (setsid sleep 999 &); sleep 999"
    timed_out = await ended(service, *sh(script), timeout=0.1)
    assert (type(timed_out.outcome), timed_out.left_processes) == (TimedOut, None)
    run, watcher = service.start(plan(*sh(script)))
    await watcher.running.wait()
    run.stop("disconnected")
    async with asyncio.timeout(TIMEOUT):
        await watcher.finished.wait()
    assert watcher.result is not None
    assert (type(watcher.result.outcome), watcher.result.left_processes) == (Killed, None)


async def test_nothing_is_said_if_the_run_is_stopped_during_its_linger_time(service: Service) -> None:
    run, watcher = service.start(plan(*sh("sleep 999 & exit 0"), linger=600.0))
    exited = asyncio.Event()
    watcher.exited = lambda outcome: exited.set()  # type: ignore[method-assign]  # it is a fake
    async with asyncio.timeout(TIMEOUT):
        await exited.wait()
        run.stop("requested")
        await watcher.finished.wait()
    assert watcher.result is not None
    assert (watcher.result.outcome, watcher.result.left_processes) == (Exited(code=0), None)


async def test_a_program_that_a_signal_ends_has_left_nothing_behind(service: Service) -> None:
    result = await ended(service, *sh(f"{SILENT}; (setsid sleep 999 &); kill -INT $$"), linger=600.0)
    assert (result.outcome, result.left_processes) == (Signaled(signal=signal.SIGINT), None)
    assert result.duration < TIMEOUT


async def test_a_shell_on_a_terminal_does_not_wait_for_its_background_jobs(service: Service) -> None:
    terminal = TerminalPlan("vt100", 80, 24)
    result = await ended(
        service, *sh("trap '' HUP; sleep 999 & exit 0"), linger=600.0, terminal=terminal, stdin=True,
        merge_stderr=True, disk_spool=1 << 20,
    )  # fmt: skip
    assert result.left_processes == LeftProcesses(count=1, names=("sleep",), stopped=True)
    assert result.duration < TIMEOUT


async def on_terminal(service: Service, script: str, **fields: Any) -> RunResult:
    """Run a script on a terminal to its end."""
    terminal = TerminalPlan("vt100", 80, 24)
    return await ended(
        service, *sh(script), terminal=terminal, stdin=True, merge_stderr=True, disk_spool=1 << 20, **fields
    )  # fmt: skip


@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize(
    ("script", "count"),
    [
        (f"sleep 999 & {NAMED.format('$!')}", 1),
        (f"(sleep 999 & {NAMED.format('$!')})", 1),
        (f"sleep 999 & a=$!; sleep 999 & {NAMED.format('$a $!')}; exit 3", 2),
        (f"set -m; sleep 999 & {NAMED.format('$!')}; kill -STOP $!; {STOPPED}; exit 0", 1),
    ],
)
async def test_a_process_that_the_hang_up_of_the_terminal_ends_counts_as_stopped(
    service: Service, script: str, count: int, leave: bool
) -> None:
    result = await on_terminal(service, script, leave_processes=leave)
    assert isinstance(result.outcome, Exited)
    assert result.left_processes == LeftProcesses(count=count, names=("sleep",), stopped=True)
    assert list(service.registry.left) == []


async def test_processes_that_the_hang_up_and_the_service_end_are_counted_together(service: Service) -> None:
    script = f"(trap '' HUP; exec sleep 999) & a=$!; sleep 999 & {NAMED.format('$a $!')}"
    result = await on_terminal(service, script)
    assert result.left_processes == LeftProcesses(count=2, names=("sleep",), stopped=True)


async def test_what_lives_on_after_the_hang_up_is_left_running(service: Service) -> None:
    script = f"(trap '' HUP; exec sleep 999) & a=$!; sleep 999 & {NAMED.format('$a $!')}"
    found = (await on_terminal(service, script, leave_processes=True)).left_processes
    assert found is not None
    assert (found.count, found.names, found.stopped, len(found.pids)) == (1, ("sleep",), False, 1)


@pytest.mark.parametrize(
    "script",
    [
        "sleep 999 & kill $!; exit 0",
        "sleep 999 & kill -KILL $!; exit 0",
        "sleep 999 & kill -HUP $!; wait; exit 0",
        "yes | head -1",
        "sleep 999 & kill -INT $$",
        "true & wait",
    ],
)
async def test_nothing_is_said_on_a_terminal_of_what_ended_in_another_way(service: Service, script: str) -> None:
    assert (await on_terminal(service, script)).left_processes is None


@pytest.mark.parametrize("script", ["exit 4", "kill -TERM $$"])
async def test_a_run_may_leave_processes_running(service: Service, script: str) -> None:
    result = await ended(
        service, *sh(f"(setsid sleep 999 >/dev/null 2>&1 &); {script}"), linger=600.0, leave_processes=True
    )
    found = result.left_processes
    assert found is not None
    assert (found.count, found.stopped) == (1, False)
    (run,) = service.registry.left
    assert service.registry.left.describe(run.id, None) is not None
    # A child of another run that is found later must not take the process with it.
    await ended(service, *sh("(setsid sleep 999 >/dev/null 2>&1 &)"), linger=0.0)
    assert os.path.exists(f"/proc/{found.pids[0]}")  # noqa: PTH110  # one look is enough
    os.kill(found.pids[0], signal.SIGKILL)
    await end_of(found.pids[0])
    async with asyncio.timeout(TIMEOUT):
        while list(service.registry.left):  # noqa: ASYNC110  # it waits for iterations of the loop
            await asyncio.sleep(0)
    gone = service.registry.left.describe(run.id, found)
    assert gone == found.model_copy(update={"pids": ()})


async def test_a_run_that_may_leave_processes_is_stopped_with_all_of_them(service: Service) -> None:
    script = f"{SILENT}; (setsid sleep 999 &); sleep 999"
    result = await ended(service, *sh(script), timeout=0.1, leave_processes=True)
    assert (type(result.outcome), result.left_processes) == (TimedOut, None)
    assert list(service.registry.left) == []


async def test_a_run_that_leaves_nothing_is_not_listed(service: Service) -> None:
    result = await ended(service, "true", leave_processes=True)
    assert result.left_processes is None
    assert list(service.registry.left) == []


async def test_left_runs_survive_an_upgrade(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    result = await ended(service, *sh("(setsid sleep 999 >/dev/null 2>&1 &)"), leave_processes=True)
    assert result.left_processes is not None
    (snapshot,) = service.registry.left.snapshot()
    read = type(snapshot).model_validate_json(snapshot.model_dump_json())
    monkeypatch.setattr(subreaper, "_current", None)  # an execve forgets everything but the children
    prepare_loop()
    again = LeftRuns()
    again.restore([read], None)
    (run,) = again
    assert (run.command, run.result.outcome) == ("sh -c (setsid sleep 999 >/dev/null 2>&1 &)", Exited(code=0))
    found = again.describe(run.id, None)
    assert found is not None
    assert found.pids == result.left_processes.pids
    living = again.get(run.id)
    assert living is not None
    async with asyncio.timeout(TIMEOUT):
        await living.stop(signal.SIGTERM, 5.0)
    assert again.get("another") is None
