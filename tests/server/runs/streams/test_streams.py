"""A run on a terminal without a service: its start, every kind of end, and that nothing is left over."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, SpawnFailed
from farhand_server.credentials import Credentials
from farhand_server.runs.attachments.attachments import Attachment
from farhand_server.runs.attachments.terminal import TerminalAttachments
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.filespool import FileSpool
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.plan import Plan, RunResult, TerminalPlan, TerminalSize
from farhand_server.runs.run import LiveRun
from farhand_server.runs.streams.streams import TerminalStreams
from farhand_server.runs.streams.terminal_input import TerminalInput
from tests.server.runs.attachments.test_attachments import Client
from tests.support.processes import TIMEOUT, end_of, session_is_gone, stopped
from tests.support.registry import plan
from tests.support.shown_sizes import SHOWS_SIZE
from tests.support.started_programs import nothing_left

TERMINAL = TerminalPlan("vt100", 80, 24)


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


class OnTerminal:
    """A run on a terminal with one client."""

    def __init__(self, directory: Path, *argv: str, **fields: Any) -> None:
        given: dict[str, Any] = {
            "terminal": TERMINAL, "stdin": True, "merge_stderr": True, "disk_spool": 1 << 20, "kill_after": 30.0,
        }  # fmt: skip
        self.plan: Plan = plan(*argv, **given | fields)
        self.run = LiveRun(self.plan, SpoolMemory(1 << 30), SpoolDirectory(directory))
        self.changed = asyncio.Event()
        self.run.stdout.listeners.append(self.changed.set)
        self.client: Attachment = self.run.attach(
            Client(), key=b"k" * 16, hold=True, taken={"stdout": 0}, feeds=0, size=TerminalSize(80, 24)
        )
        self.task = asyncio.create_task(self.run.execute())
        self.searched = 0

    def type(self, data: bytes) -> None:
        """Type `data` as the client."""
        self.run.stdin.write(self.client, data)

    async def says(self, text: bytes) -> None:
        """Wait for text after the last match."""
        async with asyncio.timeout(TIMEOUT):
            while (at := self.output.find(text, self.searched)) < 0:
                assert not self.task.done(), self.output
                self.changed.clear()
                await self.changed.wait()
        self.searched = at + len(text)

    @property
    def output(self) -> bytes:
        """The whole output so far."""
        return self.run.stdout.read(0, 1 << 20)

    async def ended(self) -> RunResult:
        """Wait for the end of the run and return its result."""
        async with asyncio.timeout(TIMEOUT):
            return await self.task

    async def outcome(self) -> Outcome:
        """Wait for the end of the run and return its outcome."""
        return (await self.ended()).outcome


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[OnTerminal] = []

    def start(*argv: str, **fields: Any) -> OnTerminal:
        made.append(OnTerminal(tmp_path, *argv, **fields))
        return made[-1]

    yield start
    for each in made:
        each.run.stop("requested", 0.0)
        await asyncio.wait((each.task,))
        each.run.close()


SHELL = ("bash", "--norc", "--noprofile", "-i")


async def shell(make: Any, **fields: Any) -> OnTerminal:
    """Start an interactive shell and wait for its prompt."""
    run: OnTerminal = make(*SHELL, env={**os.environb, b"TERM": b"xterm", b"PS1": b"> ", b"HISTFILE": b""}, **fields)
    await run.says(b"> ")
    return run


# The start


async def test_a_program_that_cannot_be_started_is_reported_and_leaves_nothing_open(make: Any) -> None:
    run = make("/nowhere/it")
    outcome = await run.outcome()
    assert isinstance(outcome, SpawnFailed)
    assert (outcome.error, outcome.what) == ("ENOENT", "program")
    run.type(b"to nobody")
    assert run.run.stdin.credit(run.client) == 9


async def test_a_terminal_that_cannot_be_opened_is_an_error(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> tuple[int, int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "openpty", none_left)
    outcome = await make("true").outcome()
    assert isinstance(outcome, SpawnFailed)
    assert outcome.message == "cannot open a terminal: No space left on device"
    assert outcome.what == "process"


async def test_a_terminal_has_the_clients_size_at_the_time_it_is_opened(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "spool", 1 << 20)
    attachments = TerminalAttachments(spool, TerminalSize(80, 24), 60.0, lambda: None)
    streams = TerminalStreams(
        plan("true", terminal=TERMINAL),
        TerminalInput(attachments, SpoolMemory(1 << 20)),
        attachments.shared_size,
        spool,
        lambda: None,
    )
    attachments.add(Client(), key=None, hold=True, taken={}, feeds=0, size=TerminalSize(33, 7))
    with contextlib.ExitStack() as stack:
        streams.open(stack)
    assert streams.terminal is not None
    assert streams.terminal.size == TerminalSize(33, 7)
    streams.close()
    spool.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_start_leaves_nothing(make: Any, turns: int) -> None:
    run = make("sleep", "60")
    for _ in range(turns):
        await asyncio.sleep(0)
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task


# The end


@pytest.mark.parametrize("size", [10, 4095, 4096, 100_000])
async def test_all_output_of_a_program_is_kept_at_its_end(make: Any, size: int) -> None:
    run = make(sys.executable, "-c", f"import os; os.write(1, b'x' * {size}); os.write(1, b'END')")
    result = await run.ended()
    assert (result.outcome, result.lingered) == (Exited(code=0), False)
    assert run.output == b"x" * size + b"END"


async def test_a_program_may_close_its_terminal_and_open_it_again(make: Any) -> None:
    script = "exec <&- >&- 2>&-; sleep 0.05; echo again >/dev/tty; exit 3"
    run = make("sh", "-c", script)
    assert await run.outcome() == Exited(code=3)
    assert run.output == b"again\r\n"


async def test_background_jobs_end_with_their_shell_and_delay_nothing(make: Any) -> None:
    run = await shell(make, linger=60.0)
    run.type(b"sleep 999 & trap '' HUP; sleep 998 & echo $((7*6))\r")
    await run.says(b"\n42\r\n")
    run.type(b"exit 4\r")
    run.type(b"exit 4\r")
    result = await run.ended()
    assert result.outcome == Exited(code=4)
    assert result.duration < 50  # and not for the whole linger time
    assert result.lingered
    assert run.run.pid is not None
    await session_is_gone(run.run.pid)


async def test_a_stopped_shell_is_ended_as_well(make: Any) -> None:
    run = await shell(make)
    assert run.run.pid is not None
    os.kill(run.run.pid, signal.SIGSTOP)
    await stopped(run.run.pid)
    run.run.stop("requested")
    outcome = await run.outcome()
    assert isinstance(outcome, Killed)
    assert outcome.signal == signal.SIGHUP


@pytest.mark.parametrize("why", ["requested", "draining", "disconnected"])
async def test_an_interactive_shell_is_hung_up_at_once_though_it_ignores_term(make: Any, why: Any) -> None:
    run = await shell(make, kill_after=60.0)
    run.run.stop(why)
    outcome = await run.outcome()
    assert isinstance(outcome, Killed)
    assert (outcome.reason, outcome.signal) == (why, signal.SIGHUP)


async def test_a_run_whose_client_does_not_return_gets_a_hangup(make: Any) -> None:
    run = await shell(make)
    job = "trap 'echo hung up; exit' HUP; trap 'echo told to end' TERM; echo ready; while :; do sleep 0.01; done"
    run.type(f'sh -c "{job}"\r'.encode())
    await run.says(b"ready\r\n")
    run.run.stop("disconnected")
    await run.outcome()
    assert b"hung up" in run.output[run.searched :]
    assert b"told to end" not in run.output[run.searched :]


async def test_a_program_that_ignores_the_hangup_is_killed(make: Any) -> None:
    run = make("sh", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 0.01; done", kill_after=0.1)
    await run.says(b"ready")
    run.run.stop("disconnected")
    assert await run.outcome() == Killed(reason="disconnected", signal=signal.SIGKILL)


async def test_a_run_to_which_no_client_returns_is_ended(make: Any) -> None:
    run = await shell(make, grace=0.05)
    run.run.attachments.lost(run.client)
    outcome = await run.outcome()
    assert isinstance(outcome, Killed)
    assert outcome.reason == "disconnected"


# Another user's

NOBODY = Credentials("nobody", 65534, 65534, (65534,))


@pytest.mark.needs("root", "setpriv")
async def test_another_users_program_can_open_its_terminal(make: Any) -> None:
    script = "id -u; stat -c '%u %a' $(tty); stty size </dev/tty; echo again >$(tty); : </dev/tty && echo both ways"
    run = make("sh", "-c", script, credentials=NOBODY)
    assert await run.outcome() == Exited(code=0)
    uid, owner, size, *rest = run.output.decode().splitlines()
    assert (uid, size, rest) == ("65534", "24 80", ["again", "both ways"])
    assert owner in ("65534 620", "65534 600")


@pytest.mark.needs("root", "setpriv")
async def test_another_users_shell_controls_its_jobs(make: Any) -> None:
    run = await shell(make, credentials=NOBODY)
    run.type(b"echo now; cat\r")
    await run.says(b"now\r\n")
    run.type(b"to the cat\r")
    await run.says(b"to the cat\r\nto the cat\r\n")
    run.type(b"\x1a")
    await run.says(b"Stopped")
    run.type(b"fg\r")
    await run.says(b"\rcat\r\n")
    run.type(b"again\r")
    await run.says(b"again\r\nagain\r\n")
    run.type(b"\x03")
    await run.says(b"> ")
    run.run.stop("disconnected")
    outcome = await run.outcome()
    assert isinstance(outcome, Killed)
    assert outcome.signal == signal.SIGHUP


# Job control


async def test_a_shell_can_stop_continue_and_resume_its_jobs(make: Any) -> None:
    run = await shell(make)
    run.type(b"echo now; cat\r")
    await run.says(b"now\r\n")
    run.type(b"to the cat\r")
    await run.says(b"to the cat\r\nto the cat\r\n")
    run.type(b"\x1a")
    await run.says(b"Stopped")
    run.type(b"fg\r")
    await run.says(b"\rcat\r\n")
    run.type(b"again\r")
    await run.says(b"again\r\nagain\r\n")
    run.type(b"\x03")
    await run.says(b"> ")
    run.type(b"exit 5\r")
    assert await run.outcome() == Exited(code=5)


async def test_an_interrupt_key_ends_the_foreground_job_and_not_the_shell(make: Any) -> None:
    run = await shell(make)
    run.type(b"sh -c 'echo $$; exec sleep 999'\r")
    await run.says(b"999'\r\n")
    await run.says(b"\r\n")
    pid = int(run.output[: run.searched].split()[-1])
    run.type(b"\x03")
    await end_of(pid)
    run.type(b"exit 6\r")
    assert await run.outcome() == Exited(code=6)


async def test_the_end_of_input_ends_a_shell(make: Any) -> None:
    run = await shell(make)
    run.run.stdin.end(run.client)
    assert await run.outcome() == Exited(code=0)


async def test_a_program_starts_with_sigquit_not_ignored(make: Any) -> None:
    run = make("sh", "-c", "ulimit -c 0; echo ready; exec sleep 60")
    await run.says(b"ready")
    run.type(b"\x1c")
    assert await run.outcome() == Signaled(signal=signal.SIGQUIT)


async def test_the_size_is_known_during_and_after_the_run(make: Any) -> None:
    run = make(*SHOWS_SIZE)
    await run.says(b"ready")
    attachments = run.run.attachments
    assert isinstance(attachments, TerminalAttachments)
    attachments.resize(run.client, TerminalSize(1, 1))
    await run.says(b"changed: 1 1\r\n")
    attachments.resize(run.client, TerminalSize(500, 300))
    await run.says(b"changed: 300 500\r\n")
    run.type(b"end\r")
    await run.ended()
    attachments.resize(run.client, TerminalSize(80, 24))
    await asyncio.sleep(0)
    assert attachments.shared_size.size == TerminalSize(500, 300)
    assert run.run.timeline is not None
    assert run.run.timeline.size == (500, 300)
