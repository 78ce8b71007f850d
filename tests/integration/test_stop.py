"""A run is stopped on request or at its timeout: TERM, a grace period, then KILL, for the whole process tree."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.limits import Limits
from farhand_protocol.outcome import Exited, Killed, Signaled, TimedOut
from tests.support.client import RawClient, RemoteRun
from tests.support.processes import end_of, session_is_gone, session_members, status, stopped
from tests.support.service import Service, running_service

STUBBORN = "trap '' TERM; echo up; while :; do sleep 60; done"

SOON = 30.0
"""Seconds that nothing here takes, on however busy a machine: what is waited for by mistake takes 60."""


async def test_a_timeout_ends_the_run_with_term(client: RawClient) -> None:
    run = client.start("sleep", "60", timeout=0.1)
    pid = await run.started()
    ended = await run.ended()
    assert ended.outcome == TimedOut(timeout=0.1, signal=signal.SIGTERM)
    assert 0.1 <= ended.duration < SOON
    await session_is_gone(pid)


async def up_in_time(client: RawClient, script: str, kill_after: float = 10.0) -> tuple[RemoteRun, float]:
    """Start a script that prints a line once it is ready for a signal, with a timeout after that; return both."""
    for timeout in (0.2, 2.0, 20.0):  # the first that is enough for the start on this machine
        run = client.start("sh", "-c", script, timeout=timeout, kill_after=kill_after)
        if await run.prints_a_line():
            return run, timeout
    raise AssertionError("a shell has not started in time")


async def test_a_program_may_end_by_itself_within_the_grace_period(client: RawClient) -> None:
    script = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.01; done"
    run, timeout = await up_in_time(client, script)
    ended = await run.ended()
    assert ended.outcome == TimedOut(timeout=timeout, code=9)
    assert run.stdout == b"up\nbye\n"


async def test_a_program_that_ignores_term_is_killed_after_the_grace_period(client: RawClient) -> None:
    run, timeout = await up_in_time(client, STUBBORN, kill_after=0.2)
    pid = await run.started()
    ended = await run.ended()
    assert ended.outcome == TimedOut(timeout=timeout, signal=signal.SIGKILL)
    assert timeout + 0.2 <= ended.duration < timeout + SOON
    await session_is_gone(pid)


async def test_a_stop_can_set_its_grace_period(client: RawClient) -> None:
    run = client.start("sh", "-c", STUBBORN, kill_after=3600)
    await run.line()
    run.send(m.Stop(kill_after=0))
    assert (await run.ended()).outcome == Killed(reason="requested", signal=signal.SIGKILL)


@pytest.mark.parametrize(("first", "second"), [(3600, 0), (0.1, 3600)])
async def test_a_second_stop_can_only_shorten_the_grace_period(client: RawClient, first: float, second: float) -> None:
    run = client.start("sh", "-c", STUBBORN)
    await run.line()
    run.send(m.Stop(kill_after=first))
    run.send(m.Stop(kill_after=second))
    assert (await run.ended()).outcome == Killed(reason="requested", signal=signal.SIGKILL)


async def test_a_stop_may_come_before_the_start(client: RawClient) -> None:
    run = client.start("sleep", "60")
    run.send(m.Stop())
    assert (await run.ended()).outcome == Killed(reason="requested", signal=signal.SIGTERM)


async def test_a_suspended_process_receives_the_stop(client: RawClient) -> None:
    run = client.start("sh", "-c", "kill -STOP $$")
    pid = await run.started()
    await stopped(pid)
    run.send(m.Stop(kill_after=3600))
    assert (await run.ended()).outcome == Killed(reason="requested", signal=signal.SIGTERM)


async def test_a_suspended_process_that_ignores_term_is_ended(client: RawClient) -> None:
    run = client.start("sh", "-c", "trap '' TERM; while :; do kill -STOP $$; done")
    pid = await run.started()
    await stopped(pid)
    run.send(m.Stop(kill_after=0.1))
    assert (await run.ended()).outcome == Killed(reason="requested", signal=signal.SIGKILL)
    await session_is_gone(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1, signal.SIGRTMIN + 2])
async def test_a_signal_that_ends_the_program_is_its_outcome(client: RawClient, number: int) -> None:
    run = client.start("sleep", "60")
    await run.started()
    run.send(m.Signal(number=number))
    assert (await run.ended()).outcome == Signaled(signal=number)


async def test_a_program_that_kills_itself_was_ended_by_a_signal(client: RawClient) -> None:
    ended, _ = await client.run("sh", "-c", "kill -9 $$")
    assert ended.outcome == Signaled(signal=9)


async def test_a_signal_reaches_the_whole_group(client: RawClient) -> None:
    child = "trap 'echo child; exit' USR1; echo up; while :; do sleep 0.01; done"
    run = client.start("sh", "-c", f"trap 'wait; exit 4' USR1; ({child}) & while :; do sleep 0.01; done")
    await run.line()
    run.send(m.Signal(number=signal.SIGUSR1))
    ended = await run.ended()
    assert (ended.outcome, run.stdout) == (Exited(code=4), b"up\nchild\n")


GRANDCHILDREN = "sleep 60 & (sleep 60 & sleep 60) & (trap '' TERM HUP; sleep 60 & wait) & echo up; wait"


@pytest.mark.parametrize("how", ["timeout", "stop", "kill"])
async def test_no_process_of_the_group_remains(client: RawClient, how: str) -> None:
    if how == "timeout":
        run, _ = await up_in_time(client, GRANDCHILDREN, kill_after=0.1)
    else:
        run = client.start("sh", "-c", GRANDCHILDREN, kill_after=0.1)
    pid = await run.started()
    await run.line()
    if how == "stop":
        run.send(m.Stop())
    elif how == "kill":
        run.send(m.Signal(number=signal.SIGKILL))
    await run.ended()
    await session_is_gone(pid)


async def test_background_processes_are_ended_with_the_program(client: RawClient) -> None:
    run = client.start("sh", "-c", "sleep 60 >/dev/null 2>&1 </dev/null & echo up; exit 2")
    pid = await run.started()
    ended = await run.ended()
    assert (ended.outcome, run.stdout, ended.lingered) == (Exited(code=2), b"up\n", False)
    await session_is_gone(pid)


DAEMONS = {
    "a session of its own": "(setsid sh -c 'echo $$; exec sleep 999 >&- 2>&-' &)",
    "no environment": "(setsid env -i /bin/sh -c 'echo $$; exec sleep 999 >&- 2>&-' &)",
    "a session of a session": "(setsid setsid -f sh -c 'echo $$; exec sleep 999 >&- 2>&-' &)",
}


@pytest.mark.parametrize("how", ["ends by itself", "timeout", "stop", "kill"])
@pytest.mark.parametrize("daemon", DAEMONS.values(), ids=DAEMONS.keys())
async def test_no_daemon_of_the_run_remains(client: RawClient, daemon: str, how: str) -> None:
    rest = "exec 2>&-" if how == "ends by itself" else "sleep 999"
    if how == "timeout":
        run, _ = await up_in_time(client, f"{daemon}; {rest}", kill_after=0.1)
    else:
        run = client.start("sh", "-c", f"{daemon}; {rest}", kill_after=0.1)
    pid = int(await run.line())
    if how == "stop":
        run.send(m.Stop())
    elif how == "kill":
        run.send(m.Signal(number=signal.SIGKILL))
    await run.ended()
    await end_of(pid)


async def test_a_daemon_of_another_run_continues(client: RawClient) -> None:
    daemon = DAEMONS["a session of its own"]
    stopped_one = client.start("sh", "-c", f"{daemon}; sleep 999")
    other = client.start("sh", "-c", f"{daemon}; sleep 999")
    ended, lives = int(await stopped_one.line()), int(await other.line())
    stopped_one.send(m.Stop(kill_after=0.1))
    await stopped_one.ended()
    await end_of(ended)
    assert status(lives)["State"][0] in "SRD"
    other.send(m.Stop(kill_after=0.1))
    await other.ended()
    await end_of(lives)


async def test_output_held_open_by_a_grandchild_is_waited_for_only_for_the_linger_time(client: RawClient) -> None:
    run = client.start("sh", "-c", "echo out; sleep 60 & exit 0")
    pid = await run.started()
    ended = await run.ended()
    assert (ended.outcome, ended.lingered, run.stdout) == (Exited(code=0), True, b"out\n")
    assert 0.3 <= ended.duration < SOON
    await session_is_gone(pid)


async def test_output_of_a_grandchild_that_ends_in_the_linger_time_is_complete(tmp_path: Path) -> None:
    async with (
        running_service(tmp_path, config="[runs]\nlinger = 60\n") as service,
        RawClient.connect(service.socket) as client,
    ):
        os.mkfifo(tmp_path / "go")
        run = client.start("sh", "-c", f"(read -r x <{tmp_path}/go; echo late) & exit 0")
        await end_of(await run.started())
        await asyncio.to_thread((tmp_path / "go").write_text, "\n")
        ended = await run.ended()
        assert (ended.outcome, ended.lingered, run.stdout) == (Exited(code=0), False, b"late\n")
        assert ended.duration < SOON


async def test_a_grandchild_that_never_stops_writing_does_not_keep_the_run(client: RawClient) -> None:
    run = client.start("sh", "-c", "yes 2>&- & exit 0", keep=False)
    pid = await run.started()
    ended = await run.ended()
    assert (ended.outcome, ended.lingered) == (Exited(code=0), True)
    assert ended.stdout == run.totals["stdout"]
    await session_is_gone(pid)


async def test_a_group_member_has_the_grace_period_even_if_the_leader_ends_at_once(
    client: RawClient, tmp_path: Path
) -> None:
    """The worker of a pipeline saves its state to a file on TERM, after the shell that started it has ended."""
    state = tmp_path / "state"
    worker = f"trap 'sleep 0.2; echo saved >{state}; exit' TERM; echo up; exec >&- 2>&-; while :; do sleep 0.01; done"
    run = client.start("sh", "-c", f"({worker}) & exec 2>&-; wait", kill_after=10)
    pid = await run.started()
    await run.line()
    run.send(m.Stop())
    ended = await run.ended()
    assert ended.outcome == Killed(reason="requested", signal=signal.SIGTERM)
    assert state.read_text() == "saved\n"
    assert ended.duration < SOON
    assert session_members(pid) == []


async def test_a_signal_or_a_stop_for_a_run_that_has_ended_does_nothing(core: Service) -> None:
    async with RawClient.connect(core.socket, limits=Limits(window=64 << 10)) as client:
        run = client.start("head", "-c", "70000", "/dev/zero", credit=False)
        await run.output(64 << 10)
        await end_of(await run.started())
        assert (await client.run("true"))[0].outcome == Exited(code=0)  # the service has seen its end
        # The program has ended, and its outcome is queued behind output that the client reads slowly.
        run.send(m.Signal(number=signal.SIGKILL))
        run.send(m.Stop(kill_after=0))
        await client.round_trip()
        run.grant()
        assert (await run.ended()).outcome == Exited(code=0)
        assert (await client.run("true"))[0].outcome == Exited(code=0)
