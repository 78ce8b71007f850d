"""An overlay changes only the predicted cells, and what it has changed is restored, as another emulator judges."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_client.terminal.emulator import Emulator
from farhand_client.terminal.grid import DEFAULT_ATTRIBUTES
from farhand_client.terminal.overlay import Overlay
from farhand_client.terminal.prediction import Predicted
from farhand_client.terminal.settings import TerminalSettings
from tests.support.reference_terminals import Reference
from tests.support.terminal_output import COMMANDS


def emulated(output: bytes) -> Emulator:
    emulator = Emulator(20, 6, TerminalSettings())
    emulator.feed(output)
    return emulator


def predicted(text: str, column: int, cursor: int | None = None) -> Predicted:
    cells = {at: (char, DEFAULT_ATTRIBUTES) for at, char in enumerate(text, column)}
    return Predicted(cells, column + len(text) if cursor is None else cursor)


@pytest.mark.parametrize(
    ("output", "shown", "text", "column"),
    [
        (b"$ ", predicted("ls", 2), "$ ls", 4),
        (b"$ abc\b\b", predicted("xbc", 3, 4), "$ axbc", 4),
        (b"$ abc", predicted("", 2, 2), "$ abc", 2),
        (b"x" * 18, predicted("yz", 18), "x" * 18 + "y", 19),  # never in the last column
        ("$ 漢\b\b".encode(), predicted("ab", 2), "$ 漢", 4),  # not over a wide character
    ],
)
def test_predicted_cells_are_shown_with_the_cursor(output: bytes, shown: Predicted, text: str, column: int) -> None:
    overlay = Overlay()
    user = Reference(20, 6, output, overlay.show(shown, emulated(output)))
    assert user.display[0].rstrip() == text
    assert user.cursor.x == column
    assert overlay.shown


def test_a_further_character_costs_a_few_bytes() -> None:
    overlay, screen = Overlay(), emulated(b"$ ")
    assert overlay.show(predicted("l", 2), screen) == b"\x1b[0;4ml\x1b[m"
    assert overlay.show(predicted("ls", 2), screen) == b"\x1b[0;4ms\x1b[m"
    assert overlay.show(predicted("ls", 2), screen) == b""
    assert overlay.hide(screen) == b"\b\b\x1b[X\x1b[1C\x1b[X\b" or overlay.hide(screen) == b""


@pytest.mark.parametrize("following", ["\u0301".encode(), b"\x1b[3b"])
def test_what_belongs_to_the_character_before_it_finds_that_one(following: bytes) -> None:
    overlay, output = Overlay(), b"\x1b[31m$ a"
    screen = emulated(output)
    overlay.show(predicted("bc", 3), screen)
    assert overlay.make_way(following, screen).endswith(b"\b\x1b[0;31ma\x1b[0;31m")
    assert overlay.make_way(following, screen) == b""


def test_an_echo_replaces_what_is_predicted() -> None:
    overlay, screen = Overlay(), emulated(b"$ ")
    overlay.show(predicted("lsx", 2), screen)
    assert overlay.make_way(b"ls", screen) == b"\b\b\b"
    screen.feed(b"ls")
    assert overlay.show(predicted("x", 4), screen) == b"\x1b[1C"
    assert overlay.make_way(b"y", screen) == b"\b"
    screen.feed(b"y")
    assert overlay.show(None, screen) == b""


def test_a_forgotten_overlay_is_not_taken_back() -> None:
    overlay, screen = Overlay(), emulated(b"$ ")
    overlay.show(predicted("ls", 2), screen)
    overlay.forget()
    assert overlay.hide(screen) == b""


_PREDICTED = (
    st.builds(predicted, st.text("abc ", max_size=8), st.integers(0, 19), st.none() | st.integers(0, 19)) | st.none()
)


@settings(max_examples=50)
@given(COMMANDS, st.lists(_PREDICTED, max_size=6))
def test_nothing_remains_after_hiding(commands: list[bytes], shown: list[Predicted | None]) -> None:
    output = b"".join(commands)
    screen, overlay = emulated(output), Overlay()
    written = b"".join(overlay.show(each, screen) for each in shown) + overlay.hide(screen)
    assert Reference(20, 6, output, written).state == Reference(20, 6, output).state
