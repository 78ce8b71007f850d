"""The local terminal is raw in the block, and restored on every way out."""

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
from tests.support.ptys import Pty, terminal

UNDO = b"\x1b[?1049l\x1b[?25h"


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


async def test_the_terminal_is_raw_in_the_block_and_restored_after_it(pty: Pty) -> None:
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


async def test_an_error_restores_the_terminal(pty: Pty) -> None:
    before = pty.modes

    def fail() -> None:
        with LocalTerminal(pty.slave) as local, local.raw():
            local.set_undo_sequence(UNDO)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert pty.modes == before
    await pty.shows(UNDO)


async def test_a_cancellation_restores_the_terminal(pty: Pty) -> None:
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


async def test_closing_restores_the_terminal_and_is_idempotent(pty: Pty) -> None:
    before = pty.modes
    with LocalTerminal(pty.slave) as local:
        raw = local.raw()
        raw.__enter__()
        local.close()
        local.close()
        assert pty.modes == before


async def test_modes_set_between_two_blocks_are_restored_after_the_second(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local:
        with local.raw():
            pass
        changed = pty.modes
        changed[6][termios.VERASE] = b"\x08"
        termios.tcsetattr(pty.slave, termios.TCSANOW, changed)
        with local.raw():
            assert dict(local.modes)["VERASE"] == 8
        assert pty.modes == changed


async def test_modes_are_those_outside_of_the_block(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local, local.raw():
        assert dict(local.modes)["ICANON"] == 1


async def test_an_unknown_size_is_the_one_that_programs_assume(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local:
        assert local.size == WindowSize(columns=80, rows=24)
        for columns, rows in [(1, 1), (500, 300), (132, 50)]:
            pty.resize(columns, rows)
            assert local.size == WindowSize(columns=columns, rows=rows)
        for columns, rows in [(0, 0), (0, 24), (80, 0)]:
            pty.resize(columns, rows)
            assert local.size == FALLBACK_SIZE


async def test_a_held_terminal_blocks_nothing_and_its_other_users_still_block(pty: Pty) -> None:
    pty.read_output(False)
    with LocalTerminal(pty.slave) as local, local.raw():
        assert local.read(100) is None
        total = 0
        while count := local.write(bytes(10000)):
            total += count
        assert total > 0
        assert os.get_blocking(pty.slave)
        local.set_undo_sequence(UNDO)  # cannot be written, and does not block
    pty.read_output()


async def test_a_terminal_that_cannot_be_opened_separately_is_shared_and_left_blocking(
    pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of another account, after su(1)."""

    def refused(fd: int) -> str:
        raise PermissionError

    monkeypatch.setattr(os, "ttyname", refused)
    with LocalTerminal(pty.slave) as local, local.raw():
        assert local.read(100) is None
        assert local.write(b"x") == 1
    assert os.get_blocking(pty.slave)
    await pty.shows(b"x")


async def test_a_terminal_that_hangs_up_is_reported(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local, local.raw():
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(local.fd, gone.set)
        pty.hang_up()
        await gone.wait()
        asyncio.get_running_loop().remove_reader(local.fd)
        assert local.read(100) == b""
        with pytest.raises(OSError, match="error"):
            local.write(b"x")


async def test_a_file_is_not_a_terminal() -> None:
    with Path(os.devnull).open() as null, pytest.raises(TerminalUnavailable, match="is not a terminal"):
        LocalTerminal(null.fileno())


async def test_a_session_without_a_controlling_terminal_is_an_error() -> None:
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


async def test_others_may_change_the_modes_while_the_process_is_stopped(pty: Pty) -> None:
    with LocalTerminal(pty.slave) as local:
        cooked = pty.modes
        local.restore_raw()
        assert not pty.raw
        with local.raw():
            termios.tcsetattr(pty.slave, termios.TCSANOW, cooked)
            local.restore_raw()
            assert pty.raw


async def test_while_the_job_is_stopped_the_terminal_is_restored(pty: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[tuple[bool, bool]] = []

    def kill(pid: int, number: int) -> None:
        default = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
        stopped.append((default and (pid, number) == (0, signal.SIGTSTP), pty.raw))

    with LocalTerminal(pty.slave) as local, local.raw():
        local.set_undo_sequence(UNDO)
        before = signal.signal(signal.SIGTSTP, lambda *_: None)
        monkeypatch.setattr(os, "kill", kill)
        local.suspend()
        monkeypatch.undo()
        signal.signal(signal.SIGTSTP, before)
        assert stopped == [(True, False)]
        assert pty.raw
        await pty.shows(UNDO)
    assert pty.shown == b""
