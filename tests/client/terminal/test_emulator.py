"""The emulator shows what terminals show: compared with pyte, and where pyte differs from terminals, spelled out."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farhand_client.terminal.emulator import Emulator
from farhand_client.terminal.settings import TerminalSettings
from tests.support.reference_terminals import Reference
from tests.support.terminal_output import COMMANDS, OUTPUTS


def emulated(output: bytes, columns: int = 20, rows: int = 6) -> Emulator:
    emulator = Emulator(columns, rows, TerminalSettings())
    emulator.feed(output)
    return emulator


def text_of(emulator: Emulator) -> list[str]:
    """Return the visible rows."""
    return ["".join(row.at(x)[0] for x in range(emulator.columns)) for row in emulator.grid.rows]


def visible(output: bytes, columns: int = 20, rows: int = 6) -> str:
    """Return the visible rows without trailing blanks, as one text."""
    return "\n".join(row.rstrip() for row in text_of(emulated(output, columns, rows))).rstrip()


@pytest.mark.parametrize("output", OUTPUTS)
def test_text_and_cursor_are_those_of_another_emulator(output: bytes) -> None:
    emulator, reference = emulated(output), Reference(20, 6, output)
    # pyte composes characters.
    assert [normalize("NFC", row) for row in text_of(emulator)] == reference.display
    assert (emulator.x, emulator.y) == (min(reference.cursor.x, 19), reference.cursor.y)


@settings(max_examples=40)  # painting is tested with more
@given(COMMANDS)
def test_after_any_commands_text_is_that_of_another_emulator(commands: list[bytes]) -> None:
    assert text_of(emulated(b"".join(commands))) == Reference(20, 6, *commands).display


@given(st.binary(max_size=300), st.integers(0, 300), st.sampled_from([(1, 1), (2, 1), (20, 6)]))
def test_any_bytes_are_accepted_however_they_are_split(output: bytes, cut: int, size: tuple[int, int]) -> None:
    split = Emulator(*size, TerminalSettings())
    split.feed(output[:cut])
    split.feed(output[cut:])
    assert text_of(split) == text_of(emulated(output, *size))
    assert 0 <= split.x < size[0]
    assert 0 <= split.y < size[1]


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("漢字\x1b[1;2Hx", " x字"),
        ("漢字\x1b[1;1Hx", "x 字"),
        ("漢字\x1b[1;2H\x1b[P", " 字"),
        ("漢字\x1b[1;3H\x1b[@", "漢 字"),
    ],
)
def test_half_of_a_wide_character_is_blank(output: str, shown: str) -> None:
    assert visible(output.encode()) == shown


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        # Control characters inside a sequence take effect at once; malformed and cancelled sequences have no effect.
        (b"ab\x1b[1\r;1mc", "cb"),
        (b"a\x1b[1;<mb", "ab"),
        (b"a\x1b[31\x18b", "ab"),
        # Strings are not shown.
        (b"a\x1b]0;title\x07\x1bPdata\x1b\\\x1b_app\x1b\\b", "ab"),
        # Newline mode, index, next line, reverse index, alignment test, full reset.
        (b"a\x1b[20h\nb", "a\nb"),
        (b"a\x1bDb\x1bEc\x1bMd", "a\n d\nc"),
        (b"\x1b#8", "\n".join(["E" * 20] * 6)),
        (b"abc\x1b[31m\x1bcx", "x"),
        # Repeating the last character, if there is one.
        (b"x\x1b[3b", "xxxx"),
        (b"\x1b[3b", ""),
        # Moves.
        (b"\x1b[3Cx\x1b[5Dy\x1b[8Gz\x1b[10`!", "y  x   z !"),
        (b"\x1b[2Ea\x1b[Fb\x1b[4dc", "\nb\na\n c"),
        # Tab stops.
        (b"a\x1b[2Ib\x1b[Zc", "a               c"),
        (b"\x1b[5G\x1bH\r\tx", "    x"),
        (b"\x1b[5G\x1bH\r\t\x1b[g\r\tx", "        x"),
        (b"\x1b[3g\tx", "                   x"),
        # Erasing, inserting, deleting.
        (b"abcdef\x1b[3G\x1b[2X", "ab  ef"),
        (b"abcdef\x1b[3G\x1b[2@", "ab  cdef"),
        (b"abcdef\x1b[3G\x1b[2P", "abef"),
        (b"a\r\nb\r\nc\x1b[2;1H\x1b[L", "a\n\nb\nc"),
        (b"a\r\nb\r\nc\x1b[2;1H\x1b[M", "a\nc"),
        (b"a\r\nb\r\nc\x1b[S", "b\nc"),
        (b"a\r\nb\r\nc\x1b[T", "\na\nb\nc"),
        (b"abc\x1b[?2K", ""),
        (b"abc\x1b[2G\x1b[?J", "a"),
        # The special graphics as G0 and as G1.
        (b"\x1b(0q\x1b(Bq\x1b)0\x0eq\x0fq", "─q─q"),
    ],
)
def test_control_sequences_have_their_effect(output: bytes, shown: str) -> None:
    assert visible(output) == shown


def test_each_screen_has_its_own_saved_cursor() -> None:
    emulator = emulated(b"\x1b[2;3H\x1b7\x1b[?1049h\x1b[5;5H\x1b[s\x1b[H\x1b[u")
    assert (emulator.x, emulator.y) == (4, 4)
    emulator.feed(b"\x1b[?1049l")
    assert (emulator.x, emulator.y) == (2, 1)


def test_the_alternate_screen_is_cleared_and_the_main_one_kept() -> None:
    emulator = emulated(b"main\x1b[?1049hold\x1b[?1049l\x1b[?1049h")
    assert "".join(text_of(emulator)).strip() == ""
    emulator.feed(b"new\x1b[?1049l!")
    assert text_of(emulator)[0].rstrip() == "main!"


def test_origin_mode_moves_the_cursor_to_the_region() -> None:
    emulator = emulated(b"\x1b[3;5r\x1b[?6h")
    assert (emulator.x, emulator.y) == (0, 2)
    emulator.feed(b"\x1b[9;9H")
    assert (emulator.x, emulator.y) == (8, 4)
