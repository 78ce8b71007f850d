"""Terminal modes on the wire, in raw mode, and as arguments of stty(1)."""

from __future__ import annotations

import os
import subprocess
import termios
import tty
from collections.abc import Iterator
from typing import get_args

import pytest

from farhand_client import TerminalRequest, WindowSize
from farhand_client.terminal.modes import disabled_character, raw_mode, stty_argument, wire_modes
from farhand_protocol.messages.terminal import ModeName


@pytest.fixture
def terminal() -> Iterator[int]:
    master, slave = os.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def modes_of(terminal: int) -> dict[str, int]:
    return dict(wire_modes(termios.tcgetattr(terminal), disabled_character(terminal)))


def test_linux_has_every_mode_of_the_wire(terminal: int) -> None:
    modes = wire_modes(termios.tcgetattr(terminal), disabled_character(terminal))
    assert {name for name, _ in modes} == set(get_args(ModeName))
    assert TerminalRequest(name="xterm", size=WindowSize(columns=1, rows=1), modes=modes).modes == modes


def test_characters_and_flags_are_converted(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[0] &= ~(termios.IXON | 0x4000)
    attributes[1] |= termios.ONLRET
    attributes[3] |= termios.TOSTOP
    attributes[6][termios.VERASE] = b"\x08"
    attributes[6][termios.VINTR] = b"\0"
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    modes = modes_of(terminal)
    assert (modes["IXON"], modes["IUTF8"], modes["ONLRET"], modes["TOSTOP"]) == (0, 0, 1, 1)
    assert (modes["ICRNL"], modes["OPOST"], modes["ECHO"]) == (1, 1, 1)
    assert modes["VERASE"] == 8
    assert modes["VINTR"] == 255  # disabled, whatever number the system has for that
    attributes[0] |= 0x4000
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    assert modes_of(terminal)["IUTF8"] == 1


def test_a_terminal_that_is_already_raw_is_reported_as_such(terminal: int) -> None:
    tty.setraw(terminal)
    modes = modes_of(terminal)
    assert (modes["ICANON"], modes["ECHO"], modes["ISIG"], modes["OPOST"]) == (0, 0, 0, 0)
    assert modes["VINTR"] == 3


def test_zero_is_a_character_if_the_system_disables_by_another_number(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[6][termios.VEOL] = b"\xff"
    modes = dict(wire_modes(attributes, disabled=255))
    assert (modes["VEOL"], modes["VEOL2"]) == (255, 0)


def test_raw_mode_is_that_of_cfmakeraw(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    termios.tcsetattr(terminal, termios.TCSANOW, raw_mode(before))
    after = termios.tcgetattr(terminal)
    cleared = [
        (0, "IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON IXOFF IXANY"),
        (1, "OPOST"),
        (3, "ECHO ECHONL ICANON ISIG IEXTEN"),
    ]
    for place, names in cleared:
        assert not any(after[place] & getattr(termios, name) for name in names.split())
    assert after[2] & termios.CSIZE == termios.CS8
    assert (after[6][termios.VMIN], after[6][termios.VTIME]) == (1, 0)
    assert raw_mode(before) == after
    assert before[3] & termios.ICANON  # the argument is not changed


def test_stty_accepts_the_argument(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    subprocess.run(["stty", stty_argument(attributes)], stdin=terminal, check=True)
    assert termios.tcgetattr(terminal) == attributes


def test_the_argument_for_bsd_names_flags_characters_and_speeds(terminal: int) -> None:
    fields = dict(field.split("=") for field in stty_argument(termios.tcgetattr(terminal), "darwin").split(":")[1:])
    assert {"cflag", "iflag", "lflag", "oflag", "intr", "min", "time", "ispeed", "ospeed"} <= set(fields)
    assert fields["intr"] == "3"
