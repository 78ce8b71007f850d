"""The guard restores the terminal of a process that was killed, and leaves no trace otherwise."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import AsyncIterator

import pytest

from farhand_client.terminal import guard as module
from farhand_client.terminal.guard import TerminalGuard
from farhand_client.terminal.local import LocalTerminal
from tests.support.ptys import Pty, children, terminal

UNDO = b"\x1b[?1049l\x1b[?25h"


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


SLEEPER = f"""
import signal, sys, time
from farhand_client.terminal.local import LocalTerminal
signal.signal(signal.SIGCHLD, lambda *_: None)
with LocalTerminal() as local, local.raw():
    local.set_undo_sequence({UNDO!r})
    print("pid", __import__("os").getpid(), flush=True)
    time.sleep(100)
"""
"""A program that dies of the signals that it receives, as is Python's default."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
async def test_a_killed_process_leaves_the_terminal_as_it_was(pty: Pty, number: signal.Signals) -> None:
    before = pty.modes
    async with pty.running(sys.executable, "-c", SLEEPER) as process:
        await pty.shows(b"pid")
        assert pty.raw
        process.send_signal(number)
        await process.wait()
        await pty.shows(UNDO)
        await pty.until_raw(False)
    assert pty.modes == before


async def test_the_guard_survives_a_signal_to_the_whole_job(pty: Pty) -> None:
    before = pty.modes
    async with pty.running(sys.executable, "-c", SLEEPER) as process:
        await pty.shows(b"pid")
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await pty.shows(UNDO)
        await pty.until_raw(False)
    assert pty.modes == before


async def test_the_guard_ends_with_the_block(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local:
        before = children(os.getpid())
        with local.raw():
            (guard,) = set(children(os.getpid())) - set(before)
    assert guard not in children(os.getpid())


async def test_a_stopped_guard_blocks_nothing_and_ends_with_the_block(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local:
        before = children(os.getpid())
        with local.raw():
            (guard,) = set(children(os.getpid())) - set(before)
            os.kill(guard, signal.SIGSTOP)
            for _ in range(100_000 // len(UNDO)):
                local.set_undo_sequence(b"")
                local.set_undo_sequence(UNDO)  # more than its pipe holds
    assert guard not in children(os.getpid())


async def test_the_guard_ignores_the_signals_of_a_terminal(pty: Pty) -> None:
    before = pty.modes
    async with pty.running(sys.executable, "-c", SLEEPER) as process:
        await pty.shows(b"pid")
        (guard,) = children(process.pid)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP, signal.SIGTTOU):
            os.kill(guard, number)
            assert children(process.pid) == [guard], number
        process.kill()
        await process.wait()
        await pty.shows(UNDO)
        await pty.until_raw(False)
    assert pty.modes == before


async def test_modes_set_by_others_in_the_meantime_are_kept(pty: Pty) -> None:
    """A shell with a line editor notices the death at once, and reads keys before the guard gets to run."""
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


async def test_the_terminal_works_if_no_guard_can_be_started(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHELL", "/nowhere/sh")
    before = pty.modes
    with LocalTerminal(pty.slave) as local, local.raw():
        assert pty.raw
        local.set_undo_sequence(UNDO)
    assert pty.modes == before


async def test_closing_the_guard_twice_or_after_its_death_is_harmless(pty: Pty) -> None:
    before = children(os.getpid())
    guard = TerminalGuard(pty.slave)
    (pid,) = set(children(os.getpid())) - set(before)
    os.kill(pid, signal.SIGKILL)
    guard.set_undo_sequence(UNDO)
    guard.close()
    guard.close()
    assert pid not in children(os.getpid())
