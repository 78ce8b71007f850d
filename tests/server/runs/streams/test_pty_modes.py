"""A terminal's modes are set by their names of termios(3); modes that are not named are unchanged."""

from __future__ import annotations

import os
import termios
from collections.abc import Iterator
from typing import get_args

import pytest

from farhand_protocol import messages as m
from farhand_server.runs.streams.pty import IUTF8, set_modes

INPUT, OUTPUT, LOCAL, CHARACTERS = 0, 1, 3, 6


@pytest.fixture
def terminal() -> Iterator[int]:
    master, slave = os.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def test_a_terminal_accepts_utf_8_and_otherwise_has_the_systems_defaults(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    set_modes(terminal, ())
    before[INPUT] |= IUTF8
    assert termios.tcgetattr(terminal) == before


@pytest.mark.parametrize("name", [name for name in get_args(m.ModeName) if not name.startswith("V")])
def test_every_flag_can_be_set_and_cleared_alone(terminal: int, name: str) -> None:
    set_modes(terminal, [(name, 0)])
    without = termios.tcgetattr(terminal)
    set_modes(terminal, [(name, 1)])
    having = termios.tcgetattr(terminal)
    changed = [without[word] ^ having[word] for word in (INPUT, OUTPUT, LOCAL)]
    bit = IUTF8 if name == "IUTF8" else getattr(termios, name)
    assert sorted(changed) == [0, 0, bit]
    assert bit in [having[word] & change for word, change in zip((INPUT, OUTPUT, LOCAL), changed, strict=True)]


@pytest.mark.parametrize("name", [name for name in get_args(m.ModeName) if name.startswith("V")])
def test_every_control_character_can_be_set_and_disabled(terminal: int, name: str) -> None:
    set_modes(terminal, [(name, 7)])
    assert termios.tcgetattr(terminal)[CHARACTERS][getattr(termios, name)] == b"\x07"
    set_modes(terminal, [(name, 255)])
    assert termios.tcgetattr(terminal)[CHARACTERS][getattr(termios, name)] == b"\0"


def test_utf_8_can_be_switched_off(terminal: int) -> None:
    set_modes(terminal, [("IUTF8", 0)])
    assert not termios.tcgetattr(terminal)[INPUT] & IUTF8
