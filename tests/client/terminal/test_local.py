"""The local terminal is raw while it has to be, and as it was on every way out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client.terminal.local import FALLBACK_SIZE, LocalTerminal, TerminalUnavailable
from farhand_protocol.messages.terminal import WindowSize
from tests.support.ptys import Pty, children, terminal

UNDO = b"\x1b[?1049l\x1b[?25h"


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


async def test_raw_in_the_block_and_as_before_behind_it(pty: Pty) -> None:
    before = pty.modes
    with LocalTerminal(pty.slave) as local:
        assert pty.modes == before
        with local.raw():
            assert pty.raw
            local.set_undo_sequence(UNDO)
        assert pty.modes == before
        await pty.shows(UNDO)
        with local.raw():
            assert pty.raw
    assert pty.modes == before
    assert pty.shown == b""


async def test_an_error_restores(pty: Pty) -> None:
    before = pty.modes

    def fail() -> None:
        with LocalTerminal(pty.slave) as local, local.raw():
            local.set_undo_sequence(UNDO)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert pty.modes == before
    await pty.shows(UNDO)


async def test_a_cancellation_restores(pty: Pty) -> None:
    before = pty.modes
    entered = asyncio.Event()

    async def stay() -> None:
        with LocalTerminal(pty.slave) as local, local.raw():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stay())
    await entered.wait()
    assert pty.raw
    task.cancel()
    await asyncio.wait([task])
    assert pty.modes == before


async def test_closing_restores_as_well_and_may_come_twice(pty: Pty) -> None:
    before = pty.modes
    with LocalTerminal(pty.slave) as local:
        raw = local.raw()
        raw.__enter__()
        local.close()
        local.close()
        assert pty.modes == before


async def test_modes_set_between_two_uses_are_those_it_goes_back_to(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local:
        with local.raw():
            pass
        changed = pty.modes
        changed[6][termios.VERASE] = b"\x08"
        termios.tcsetattr(pty.slave, termios.TCSANOW, changed)
        with local.raw():
            assert dict(local.modes)["VERASE"] == 8
        assert pty.modes == changed


async def test_modes_are_those_outside_of_raw(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local, local.raw():
        assert dict(local.modes)["ICANON"] == 1


async def test_the_size_is_that_of_the_terminal_or_one_that_programs_assume(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local:
        assert local.size == WindowSize(columns=80, rows=24)
        for columns, rows in [(1, 1), (500, 300), (132, 50)]:
            pty.resize(columns, rows)
            assert local.size == WindowSize(columns=columns, rows=rows)
        for columns, rows in [(0, 0), (0, 24), (80, 0)]:
            pty.resize(columns, rows)
            assert local.size == FALLBACK_SIZE


async def test_nothing_waits_for_a_terminal_that_is_held_and_others_still_can(pty: Pty) -> None:
    pty.look(False)
    with LocalTerminal(pty.slave) as local, local.raw():
        assert local.read(100) is None
        total = 0
        while count := local.write(bytes(10000)):
            total += count
        assert total > 0
        assert os.get_blocking(pty.slave)
        local.set_undo_sequence(UNDO)  # cannot be said, and holds nobody up
    pty.look()


async def test_a_terminal_that_cannot_be_opened_anew_is_shared_and_left_blocking(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of another account behind su(1)."""

    def refused(fd: int) -> str:
        raise PermissionError

    monkeypatch.setattr(os, "ttyname", refused)
    with LocalTerminal(pty.slave) as local, local.raw():
        assert local.read(100) is None
        assert local.write(b"x") == 1
    assert os.get_blocking(pty.slave)
    await pty.shows(b"x")


async def test_a_terminal_that_hangs_up_is_gone(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local, local.raw():
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(local.fd, gone.set)
        pty.hang_up()
        await gone.wait()
        asyncio.get_running_loop().remove_reader(local.fd)
        assert local.read(100) == b""
        with pytest.raises(OSError, match="error"):
            local.write(b"x")


async def test_what_is_no_terminal_is_said() -> None:
    with Path(os.devnull).open() as null, pytest.raises(TerminalUnavailable, match="is not a terminal"):
        LocalTerminal(null.fileno())


async def test_a_session_without_a_terminal_has_none() -> None:
    code = """
import sys
from farhand_client.terminal.local import LocalTerminal, TerminalUnavailable
try:
    LocalTerminal()
except TerminalUnavailable as error:
    print(error)
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    out, _ = await process.communicate()
    assert b"no terminal: No such device or address" in out


SLEEPER = f"""
import signal, sys, time
from farhand_client.terminal.local import LocalTerminal
signal.signal(signal.SIGCHLD, lambda *_: None)
with LocalTerminal() as local, local.raw():
    local.set_undo_sequence({UNDO!r})
    print("pid", __import__("os").getpid(), flush=True)
    time.sleep(100)
"""
"""A program that dies of what it is sent, as Python's default has it."""


class TestGuard:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
    async def test_a_killed_process_leaves_the_terminal_as_it_was(self, pty: Pty, number: signal.Signals) -> None:
        before = pty.modes
        async with pty.running(sys.executable, "-c", SLEEPER) as process:
            await pty.shows(b"pid")
            assert pty.raw
            process.send_signal(number)
            await process.wait()
            await pty.shows(UNDO)
            await pty.until_raw(False)
        assert pty.modes == before

    async def test_it_outlives_a_signal_to_all_of_the_job(self, pty: Pty) -> None:
        before = pty.modes
        async with pty.running(sys.executable, "-c", SLEEPER) as process:
            await pty.shows(b"pid")
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await pty.shows(UNDO)
            await pty.until_raw(False)
        assert pty.modes == before

    async def test_it_goes_without_a_trace(self, pty: Pty) -> None:
        with LocalTerminal(pty.slave) as local:
            before = children(os.getpid())
            with local.raw():
                (guard,) = set(children(os.getpid())) - set(before)
        assert guard not in children(os.getpid())

    async def test_it_goes_also_where_it_is_stopped(self, pty: Pty) -> None:
        with LocalTerminal(pty.slave) as local:
            before = children(os.getpid())
            with local.raw():
                (guard,) = set(children(os.getpid())) - set(before)
                os.kill(guard, signal.SIGSTOP)
                for _ in range(100_000 // len(UNDO)):
                    local.set_undo_sequence(b"")
                    local.set_undo_sequence(UNDO)  # more than the pipe to it holds
        assert guard not in children(os.getpid())

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP, signal.SIGTTOU])
    async def test_what_the_terminal_sends_does_not_end_it(self, pty: Pty, number: signal.Signals) -> None:
        before = pty.modes
        async with pty.running(sys.executable, "-c", SLEEPER) as process:
            await pty.shows(b"pid")
            (guard,) = children(process.pid)
            os.kill(guard, number)
            process.kill()
            await process.wait()
            await pty.until_raw(False)
        assert pty.modes == before

    async def test_modes_that_somebody_else_has_set_meanwhile_are_left_alone(self, pty: Pty) -> None:
        """A shell with a line editor notices the death at once, and reads keys before the guard comes to work."""
        async with pty.running(sys.executable, "-c", SLEEPER) as process:
            await pty.shows(b"pid")
            editing = pty.modes
            editing[1] |= termios.OPOST
            termios.tcsetattr(pty.slave, termios.TCSANOW, editing)
            editing = pty.modes
            process.kill()
            await process.wait()
            await pty.shows(UNDO)
        assert pty.modes == editing

    async def test_where_none_can_be_started_the_terminal_works(
        self, pty: Pty, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("farhand_client.terminal.guard._SHELL", "/nowhere/sh")
        before = pty.modes
        with LocalTerminal(pty.slave) as local, local.raw():
            assert pty.raw
            local.set_undo_sequence(UNDO)
        assert pty.modes == before
