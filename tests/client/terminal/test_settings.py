"""The terminal settings of a program can be undone and set again; all others are left alone."""

from __future__ import annotations

import pytest

from farhand_client.terminal.grid import DEFAULT_ATTRIBUTES
from farhand_client.terminal.sequences import follow_settings
from farhand_client.terminal.settings import MAX_TITLE, TerminalSettings, keyboard_sequence, parse_parameter

ALL_SET = b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?25l\x1b[?1000h\x1b[?1006h\x1b[?2004h\x1b[1;23r\x1b[31m"


def after(output: bytes) -> TerminalSettings:
    """Return the settings after some output."""
    return follow_settings(TerminalSettings(), output)


@pytest.mark.parametrize(
    ("output", "undo"),
    [
        (b"text\r\n\x07\t\xff", b""),
        (b"\x1b[?1049h", b"\x1b[?1049l"),
        (b"\x1b[?47h", b"\x1b[?47l"),
        (b"\x1b[?1047h", b"\x1b[?1047l"),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[?1003h\x1b[?1015h\x1b[?1016h\x1b[?9h", b"\x1b[?9l\x1b[?1003l\x1b[?1015l\x1b[?1016l"),
        (b"\x1b[?1004h\x1b[?2004h", b"\x1b[?1004l\x1b[?2004l"),
        (b"\x1b[?1h\x1b=", b"\x1b>\x1b[?1l"),
        (b"\x1b[?7l", b"\x1b[?7h"),
        (b"\x1b[4h\x1b[20h", b"\x1b[4l\x1b[20l"),
        (b"\x1b[31;1mred", b"\x1b[m"),
        (b"\x1b[38;2;1;2;3mrgb\x1b[39m", b""),
        (b"\x1b[1mbold\x1b[31mred\x1b[39m", b"\x1b[m"),
        (b"\x1b(0", b"\x1b(B"),
        (b"\x1b)0\x0e", b"\x1b)B\x0f"),
        (b"\x0e\x1b]0;a\x0fb\x07", b"\x0f"),
        (b"\x1b]0;a\x0eb\x18\x1bPa\x0e\x1b\\", b""),
        (b"\x1b[2;5r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[2;5r\x1b[?6h", b"\x1b[?6l\x1b[r\x1b[9999;1H"),
        (b"\x1b[?1049h\x1b[2;5r\x1b[?6h", b"\x1b[?6l\x1b[r\x1b[?1049l"),
        (b"\x1b[?69h", b"\x1b[?69l"),
        (b"\x1b[>1u", b"\x1b[<1u"),
        (b"\x1b[>1u\x1b[>3u", b"\x1b[<2u"),
        (b"\x1b[=5u", b"\x1b[=0u"),
        (b"\x1b[>1u\x1b[?1049h\x1b[>3u", b"\x1b[<1u\x1b[?1049l\x1b[<1u"),
        (b"\x1b[>4;2m", b"\x1b[>4m"),
        (b"\x1b[5 q", b"\x1b[0 q"),
        (b"\x1b[?2026h", b"\x1b[?2026l"),
        (b"\x1b]8;;http://a\x1b\\a", b"\x1b]8;;\x1b\\"),
        (b"\x1b]11;#000000\x07\x1b]12;red\x07\x1b]4;1;red\x07", b"\x1b]111\x1b\\\x1b]112\x1b\\\x1b]104\x1b\\"),
        (b"\x1b]11;?\x07\x1b]4;1;?\x07", b""),
        (b"\x1b[?12h\x1b[?1234h", b""),
    ],
)
def test_exactly_the_changed_settings_are_undone(output: bytes, undo: bytes) -> None:
    settings = after(output)
    assert settings.undo_sequence().encode() == undo
    assert follow_settings(settings, undo).undo_sequence() == ""


@pytest.mark.parametrize(
    "output",
    [
        ALL_SET + b"\x1bc",
        b"\x1b[?1h\x1b=\x1b[?25l\x1b[?7l\x1b[4h\x1b[2;5r\x1b[31m\x1b(0\x0e\x1b[!p",
        b"\x1b[?25l\x1b[?25h\x1b[?1049h\x1b[?1049l\x1b[>1u\x1b[<u\x1b[>4;1m\x1b[>4;0m\x1b[2 q\x1b[ q",
        b"\x1b[31mred\x1b[m",
        b"\x1b[31mred\x1b[0;m",
        b"\x1b(0lqk\x1b(B\x0e\x0f",
        b"\x1b[2;5r\x1b[r",
        b"\x1b]8;;http://a\x1b\\a\x1b]8;;\x1b\\",
    ],
)
def test_settings_that_a_program_undoes_itself_are_not_undone_again(output: bytes) -> None:
    assert after(output).undo_sequence() == ""


def test_a_copy_is_independent() -> None:
    settings = after(b"\x1b[?1h\x1b]11;red\x07")
    copy = settings.copy()
    copy.apply_csi("?", "1", "l")
    copy.apply_osc("111", "")
    assert copy.undo_sequence() == ""
    assert settings.undo_sequence() == "\x1b]111\x1b\\\x1b[?1l"


@pytest.mark.parametrize(
    "output",
    [b"", b"\x1b[?1h\x1b[?7l\x1b[?2004h", b"\x1b[4h\x1b[20h\x1b=", b"\x1b(0\x1b)A\x0e", b"\x1b[5 q\x1b[>4;2m"],
)
def test_settings_can_be_set_again(output: bytes) -> None:
    settings = after(output)
    assert vars(after(settings.set_sequence().encode())) == vars(settings)


def test_settings_that_depend_on_the_cursor_are_not_set_again() -> None:
    moves = b"\x1b[2;5r\x1b[?6h\x1b[31m\x1b[?25l\x1b[?1049h\x1b[?2026h\x1b]11;red\x07\x1b]8;;http://a\x07"
    assert after(moves).set_sequence() == ""


@pytest.mark.parametrize(
    ("output", "sequence"),
    [
        (b"", ""),
        (b"\x1b[=5u", "\x1b[=5u"),
        (b"\x1b[=5u\x1b[=2;2u", "\x1b[=7u"),
        (b"\x1b[=5u\x1b[=4;3u", "\x1b[=1u"),
        (b"\x1b[=5u\x1b[=4;9u", "\x1b[=5u"),
        (b"\x1b[>1u\x1b[>3u", "\x1b[>1u\x1b[>3u"),
        (b"\x1b[>1u\x1b[>3u\x1b[<u", "\x1b[>1u"),
        (b"\x1b[>1u\x1b[>3u\x1b[<9u", ""),
        (b"\x1b[>1u" * 20, "\x1b[>1u" * 16),
    ],
)
def test_the_keyboard_stack_is_followed_and_bounded(output: bytes, sequence: str) -> None:
    assert keyboard_sequence(after(output).keyboards[0]) == sequence


def test_a_soft_reset_keeps_what_terminals_keep() -> None:
    settings = after(b"\x1b[?1h\x1b[?1049h\x1b[?2004h\x1b[4h\x1b[31m\x1b[!p")
    assert (settings.alternate, settings.modes, settings.insert) == (1049, {2004: True}, False)
    assert settings.attributes == DEFAULT_ATTRIBUTES


def test_a_title_that_is_too_long_is_not_kept() -> None:
    assert after(b"\x1b]2;" + b"t" * MAX_TITLE + b"\x07").title == "t" * MAX_TITLE
    assert after(b"\x1b]2;" + b"t" * (MAX_TITLE + 1) + b"\x07").title == ""


def test_a_saved_cursor_belongs_to_its_screen() -> None:
    assert after(b"\x1b7").cursor_saved == (True, False)
    assert after(b"\x1b[?1049h\x1b[s").cursor_saved == (False, True)


@pytest.mark.parametrize(("text", "value"), [("", 0), ("7", 7), ("99999", 99_999), ("123456", 99_999), ("1:2", 0)])
def test_a_parameter_is_bounded(text: str, value: int) -> None:
    assert parse_parameter(text) == value
