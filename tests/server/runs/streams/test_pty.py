"""A terminal has the requested size, signals changes, belongs to its user, and reports what its keys mean now."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import stat
import termios

import pytest

from farhand_server.credentials import Credentials
from farhand_server.runs.plan import TerminalPlan, TerminalSize
from farhand_server.runs.streams.pty import PseudoTerminal
from tests.support.processes import descriptors
from tests.support.shown_sizes import SHOWS_SIZE

from ..ptys import RAW, on_terminal, opened

NOBODY = Credentials("nobody", 65534, 65534, (65534,))
PLAIN = TerminalPlan("vt100", 80, 24)


@pytest.mark.parametrize(
    "size",
    [TerminalSize(80, 24), TerminalSize(1, 1), TerminalSize(500, 300), TerminalSize(65535, 65535), TerminalSize(0, 0)],
)
def test_the_terminal_has_the_requested_size(size: TerminalSize) -> None:
    terminal = opened(size=size)
    assert terminal.size == size
    terminal.close()


def test_the_terminal_has_the_name_that_other_programs_show_until_it_is_closed() -> None:
    terminal = opened()
    assert terminal.name == os.ttyname(terminal.slave).removeprefix("/dev/")
    terminal.close()
    assert terminal.name is None


async def test_a_program_is_notified_once_of_a_new_size_and_never_of_the_same() -> None:
    with on_terminal(*SHOWS_SIZE) as program:
        await program.says(b"ready")
        program.terminal.resize(TerminalSize(80, 24))
        program.terminal.resize(TerminalSize(100, 30))
        await program.says(b"changed: 30 100\r\n")
        os.write(program.terminal.master, b"done\n")
        output = await program.says(rb"(?s)(.*)read: done")
        assert b"changed" not in output[1]


async def test_the_screen_can_be_repainted_without_a_change_of_size() -> None:
    with on_terminal(*SHOWS_SIZE) as program:
        await program.says(b"ready")
        program.terminal.repaint()
        await program.says(b"changed: 24 80")
        assert program.terminal.size == TerminalSize(80, 24)


async def test_the_foreground_is_the_job_that_controls_the_terminal() -> None:
    with on_terminal("bash", "-c", "echo ready; read -r line; set -m; sh -c 'echo $$; read -r line'") as program:
        await program.says(b"ready")
        assert program.terminal.foreground() == program.process.pid
        os.write(program.terminal.master, b"\n")
        job = await program.says(rb"([0-9]+)\r\n")
        assert program.terminal.foreground() == int(job[1])


def test_without_a_program_there_is_no_foreground() -> None:
    terminal = opened()
    assert terminal.foreground() is None
    terminal.close()


def test_the_keys_are_those_that_are_set_now() -> None:
    terminal = opened()
    assert (terminal.signal_keys(), terminal.end_key()) == (b"\x03\x1c\x1a", b"\x04")
    attributes = termios.tcgetattr(terminal.slave)
    attributes[6][termios.VINTR] = b"x"
    attributes[6][termios.VQUIT] = b"\0"  # switched off
    termios.tcsetattr(terminal.slave, termios.TCSANOW, attributes)
    assert terminal.signal_keys() == b"x\x1a"
    attributes[3] |= termios.NOFLSH
    termios.tcsetattr(terminal.slave, termios.TCSANOW, attributes)
    assert terminal.signal_keys() == b""
    terminal.close()


def test_no_key_has_a_meaning_in_raw_mode() -> None:
    terminal = opened(*RAW)
    assert (terminal.signal_keys(), terminal.end_key()) == (b"", b"")
    terminal.close()


@pytest.mark.parametrize("modes", [(), RAW], ids=["lines", "raw"])
def test_typed_input_that_was_not_read_can_be_discarded(modes: tuple[tuple[str, int], ...]) -> None:
    terminal = opened(*modes)
    assert not terminal.unread()
    with contextlib.suppress(BlockingIOError):
        while os.write(terminal.master, b"some line\n" * 100):
            terminal.unread()
    assert terminal.unread()
    terminal.drop_typed()
    assert not terminal.unread()
    assert os.write(terminal.master, b"next\n") == 5
    assert terminal.unread()
    assert os.read(terminal.slave, 100) == b"next\n"
    terminal.close()


def test_the_last_output_can_be_read_after_the_program_has_ended() -> None:
    terminal = opened(*RAW)
    os.write(terminal.slave, b"the tail")
    terminal.release()
    terminal.release()
    assert os.read(terminal.master, 100) == b"the tail"
    with pytest.raises(OSError, match="Input/output") as raised:
        os.read(terminal.master, 100)
    assert raised.value.errno == errno.EIO
    terminal.close()


async def test_closing_a_terminal_hangs_up_its_programs() -> None:
    with on_terminal("sh", "-c", "echo ready; exec sleep 60") as program:
        await program.says(b"ready")
        program.terminal.close()
        assert await program.ended() == -signal.SIGHUP


@pytest.mark.needs("root")
def test_the_terminal_belongs_to_its_user() -> None:
    terminal = PseudoTerminal.open(PLAIN, TerminalSize(80, 24), NOBODY)
    found = os.fstat(terminal.slave)
    assert found.st_uid == NOBODY.uid
    assert stat.S_IMODE(found.st_mode) in (0o620, 0o600)
    terminal.close()


def test_a_failed_open_leaves_no_descriptor_open() -> None:
    before = descriptors(os.getpid())
    with pytest.raises(OverflowError):
        PseudoTerminal.open(PLAIN, TerminalSize(80, 24), Credentials("nobody has this number", -2, 1, ()))
    assert descriptors(os.getpid()) <= before


def test_a_lack_of_descriptors_is_reported() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            PseudoTerminal.open(PLAIN, TerminalSize(80, 24), None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
