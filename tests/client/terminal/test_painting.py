"""Painting restores a screen as it was, as another terminal emulator judges."""

from __future__ import annotations

import pytest
from hypothesis import given

from farhand_client.terminal.emulator import Emulator
from farhand_client.terminal.painting import paint_last_row, paint_screen, row_content
from farhand_client.terminal.settings import TerminalSettings
from tests.support.reference_terminals import Reference
from tests.support.terminal_output import COMMANDS, OUTPUTS, TEN_LINES


def emulated(*output: bytes) -> Emulator:
    emulator = Emulator(20, 6, TerminalSettings())
    for data in output:
        emulator.feed(data)
    return emulator


def painted(*output: bytes) -> bytes:
    return paint_screen(emulated(*output), 6).encode()


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_screen_is_painted_as_it_was(output: bytes) -> None:
    # The earlier content of the terminal is removed from every row.
    assert Reference(20, 6, b"before\r\n" * 9, painted(output)).state == Reference(20, 6, output).state


@given(COMMANDS)
def test_the_screen_after_any_commands_is_painted_as_it_was(commands: list[bytes]) -> None:
    reference = Reference(20, 6, *commands)
    reference.title = ""
    assert Reference(20, 6, painted(*commands)).state == reference.state


def test_only_what_is_visible_is_painted() -> None:
    noise = b"\x07\x1b]52;c;Zm9v\x07\x1b]0;title\x07\x1b_Gi=1\x1b\\"
    queries = b"\x1b[c\x1b[>c\x1b[6n\x1b]11;?\x07\x1bP+q544e\x1b\\\x1b[?1$p"
    assert painted(noise, queries, b"seen") == painted(b"seen")


def test_the_alternate_screen_is_painted_over_the_main_one() -> None:
    main, alternate = painted(b"$ vim\r\n\x1b[?1049h\x1b[2;3H~\x1b[31mfile").split(b"\x1b[?1049h")
    assert Reference(20, 6, main).display[:2] == ["$ vim".ljust(20), " " * 20]
    assert (Reference(20, 6, main).cursor.x, Reference(20, 6, main).cursor.y) == (0, 1)
    assert Reference(20, 6, alternate).state["rows"] == Reference(20, 6, b"\x1b[2;3H~\x1b[31mfile").state["rows"]


def test_the_main_screen_is_left_alone_if_only_the_alternate_one_is_known() -> None:
    settings = TerminalSettings()
    settings.apply_csi("?", "1049", "h")
    emulator = Emulator(20, 6, settings)
    emulator.feed(b"vim")
    output = paint_screen(emulator, 6)
    assert "\n" not in output
    assert output.index("\x1b[?1049h") < output.index("vim")


def test_earlier_content_scrolls_away_by_the_terminals_height() -> None:
    for rows in (6, 30):
        output = paint_screen(emulated(b"x"), rows)
        assert output.startswith(f"\x1b[?25l\x1b[?7l\x1b[{rows};1H\n")
        assert output.count("\n") == rows


def test_both_keyboard_stacks_are_painted() -> None:
    output = painted(b"\x1b[>1u\x1b[?1049h\x1b[>3u")
    assert output.index(b"\x1b[>1u") < output.index(b"\x1b[?1049h") < output.index(b"\x1b[>3u")


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("ready", [False, True])
def test_the_last_row_is_replaced_and_nothing_else(output: bytes, ready: bool) -> None:
    text = paint_last_row(emulated(output), "\x1b[m\x1b[2Kreplaced", b"", ready=ready)
    after, before = Reference(20, 6, output, text.encode()), Reference(20, 6, output)
    if not (ready and before.cursor.y == 5):  # there the character before the cursor is written again
        assert after.display[5].rstrip() == "replaced"
    assert after.display[:5] == before.display[:5]
    assert (after.cursor.y, after.mode, after.margins) == (before.cursor.y, before.mode, before.margins)


@pytest.mark.parametrize(
    ("output", "columns", "content"),
    [
        (b"", 20, ""),
        (b"abc   ", 20, "\x1b[mabc\x1b[m"),
        (b"\x1b[31mred\x1b[m plain", 20, "\x1b[0;31mred\x1b[m plain\x1b[m"),
        (b"\x1b[44m\x1b[K", 3, "\x1b[0;44m   \x1b[m"),
        ("漢b".encode(), 20, "\x1b[m漢\x1b[3Gb\x1b[m"),
        ("a漢".encode(), 2, "\x1b[ma \x1b[m"),
        ("ae\u0301".encode(), 2, "\x1b[ma\x1b[?7he\u0301\x1b[?7l\x1b[m"),
        ("e\u0301b".encode(), 20, "\x1b[me\u0301\x1b[2Gb\x1b[m"),
    ],
)
def test_a_row_is_written_without_its_trailing_blanks(output: bytes, columns: int, content: str) -> None:
    assert row_content(emulated(output).grid.rows[0], columns) == content


def test_rows_that_scrolled_away_are_not_painted() -> None:
    assert Reference(20, 6, painted(TEN_LINES)).display[:5] == [f"{number}".ljust(20) for number in range(6, 11)]
