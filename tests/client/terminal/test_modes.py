"""The local terminal's modes in the words of the wire, and what raw means."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import Iterator
from typing import get_args

import pytest

from farhand_client import TerminalRequest, WindowSize
from farhand_client.terminal.modes import disabled_character, raw_mode, wire_modes
from farhand_protocol.messages.terminal import ModeName


@pytest.fixture
def terminal() -> Iterator[int]:
    master, slave = os.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def modes(terminal: int) -> dict[str, int]:
    return dict(wire_modes(termios.tcgetattr(terminal), disabled_character(terminal)))


def test_all_that_linux_knows_is_said_and_fits_the_wire(terminal: int) -> None:
    said = wire_modes(termios.tcgetattr(terminal), disabled_character(terminal))
    assert {name for name, _ in said} == set(get_args(ModeName))
    assert TerminalRequest(name="xterm", size=WindowSize(columns=1, rows=1), modes=said).modes == said


def test_characters_and_flags_are_as_they_were_set(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[0] &= ~(termios.IXON | 0x4000)
    attributes[1] |= termios.ONLRET
    attributes[3] |= termios.TOSTOP
    attributes[6][termios.VERASE] = b"\x08"
    attributes[6][termios.VINTR] = b"\0"
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    said = modes(terminal)
    assert (said["IXON"], said["IUTF8"], said["ONLRET"], said["TOSTOP"]) == (0, 0, 1, 1)
    assert (said["ICRNL"], said["OPOST"], said["ECHO"]) == (1, 1, 1)
    assert said["VERASE"] == 8
    assert said["VINTR"] == 255  # switched off, whatever number the system has for that
    attributes[0] |= 0x4000
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    assert modes(terminal)["IUTF8"] == 1


def test_a_terminal_that_is_raw_already_says_so(terminal: int) -> None:
    tty.setraw(terminal)
    said = modes(terminal)
    assert (said["ICANON"], said["ECHO"], said["ISIG"], said["OPOST"]) == (0, 0, 0, 0)
    assert said["VINTR"] == 3


def test_a_zero_is_a_character_where_the_system_switches_off_by_another(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[6][termios.VEOL] = b"\xff"
    said = dict(wire_modes(attributes, disabled=255))
    assert (said["VEOL"], said["VEOL2"]) == (255, 0)


def test_raw_is_what_cfmakeraw_makes(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    termios.tcsetattr(terminal, termios.TCSANOW, raw_mode(before))
    after = termios.tcgetattr(terminal)
    gone = [
        (0, "IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON IXOFF IXANY"),
        (1, "OPOST"),
        (3, "ECHO ECHONL ICANON ISIG IEXTEN"),
    ]
    for place, names in gone:
        assert not any(after[place] & getattr(termios, name) for name in names.split())
    assert after[2] & termios.CSIZE == termios.CS8
    assert (after[6][termios.VMIN], after[6][termios.VTIME]) == (1, 0)
    assert raw_mode(before) == after
    assert before[3] & termios.ICANON  # what was given is left alone
