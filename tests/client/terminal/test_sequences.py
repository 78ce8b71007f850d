"""The grammar of terminal output: whole tokens, incomplete ends, and the settings in it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.terminal.sequences import (
    MAX_PARTIAL_SEQUENCE,
    TOKEN,
    bounded_partial,
    follow_settings,
    incomplete_character_start,
    incomplete_start,
)
from farhand_client.terminal.settings import TerminalSettings
from tests.support.terminal_output import COMMANDS

INCOMPLETE = [
    (b"", b""),
    (b"abc", b""),
    (b"abc\x1b", b"\x1b"),
    (b"abc\x1b[", b"\x1b["),
    (b"abc\x1b[38;5", b"\x1b[38;5"),
    (b"abc\x1b[38;5;1m", b""),
    (b"\x1b]0;title", b"\x1b]0;title"),
    (b"\x1b]0;title\x1b", b"\x1b]0;title\x1b"),
    (b"\x1b]0;title\x1b\\", b""),
    (b"\x1b]0;title\x07", b""),
    (b"\x1bP+q544e\x07", b"\x1bP+q544e\x07"),
    (b"\x1bP+q544e\x1b\\\x1b", b"\x1b"),
    (b"\x1b]0;title\x18", b""),
    (b"\x1b[12\x1b[3", b"\x1b[3"),
    (b"\x1b(", b"\x1b("),
    (b"\x1b#", b"\x1b#"),
    ("ö".encode()[:1], b"\xc3"),
    ("漢".encode()[:2], b"\xe6\xbc"),
    ("😀".encode()[:3], b"\xf0\x9f\x98"),
    ("😀".encode(), b""),
    (b"\x80\x80", b""),
    (b"\x1b]0;\xe6\xbc", b"\x1b]0;\xe6\xbc"),
    (b"\x1bPq" + b"#" * 5000, b"\x1bX"),
    (b"\x1b]52;c;" + b"A" * 10_000, b"\x1b]7777;"),
    (b"\x1b]52;c;" + b"A" * 10_000 + b"\x1b", b"\x1b]7777;\x1b"),
    (b"\x1b[" + b"1;" * 5000, b"\x1b[<<"),
    (b"\x1b[" + b"1;" * 5000 + b"m", b""),
    (b"\x1bPq" + b"#" * 5000 + b"\x1b\\", b""),
]
"""Output, and the incomplete sequence or character at its end, or what stands for a long one."""


def pending(*chunks: bytes) -> bytes:
    """Return what is incomplete after these chunks."""
    partial, last = b"", b""
    for chunk in chunks:
        last = (last + chunk)[-3:]
        data = partial + chunk
        partial = bounded_partial(data[incomplete_start(data) :])
    return partial or last[incomplete_character_start(last) :]


@pytest.mark.parametrize(("output", "incomplete"), INCOMPLETE)
def test_an_incomplete_end_is_recognized_however_the_output_is_split(output: bytes, incomplete: bytes) -> None:
    for size in (len(output) or 1, 7, 1):
        assert pending(*(output[at : at + size] for at in range(0, len(output), size))) == incomplete


def test_a_partial_sequence_is_kept_up_to_its_limit() -> None:
    title = b"\x1b]0;" + b"t" * (MAX_PARTIAL_SEQUENCE - 4)
    assert bounded_partial(title) == title
    assert bounded_partial(title + b"t") == b"\x1b]7777;"
    assert bounded_partial(b"\x1b " + b" " * MAX_PARTIAL_SEQUENCE) == b"\x1b "


@given(st.text("ab\x1b[]P\\;?0123 m\x07\x18\r\né漢", max_size=60))
def test_tokens_cover_all_output_up_to_the_incomplete_end(output: str) -> None:
    data = output.encode()
    whole = data[: incomplete_start(data)].decode()
    assert "".join(match[0] for match in TOKEN.finditer(whole)) == whole


@pytest.mark.parametrize(
    ("output", "kinds"),
    [
        ("text\r", ["text", "control"]),
        ("\x1b[1;2Hx", ["final", "text"]),
        ("\x1b[1\r2mx", ["final", "text"]),
        ("\x1b[1\x18x", ["body", "text"]),
        ("\x1b[12\x1b[3m", ["body", "final"]),
        ("\x1b]0;title\x07\x1bPdata\x1b\\", [None, None]),
        ("\x1b(0\x1b7", ["escape", "escape"]),
    ],
)
def test_each_kind_of_token_is_recognized(output: str, kinds: list[str | None]) -> None:
    assert [match.lastgroup for match in TOKEN.finditer(output)] == kinds


@given(COMMANDS, st.lists(st.integers(0, 400)))
def test_settings_do_not_depend_on_how_the_output_is_split(commands: list[bytes], cuts: list[int]) -> None:
    whole = follow_settings(TerminalSettings(), b"".join(commands))
    at = sorted({0, len(commands), *(cut for cut in cuts if cut < len(commands))})
    split = TerminalSettings()
    for start, stop in pairwise(at):
        split = follow_settings(split, b"".join(commands[start:stop]))
    assert vars(split) == vars(whole)


def test_output_that_sets_nothing_returns_the_same_settings() -> None:
    settings = TerminalSettings()
    assert follow_settings(settings, b"text\r\n\x0f") is settings


@pytest.mark.parametrize(
    ("output", "shifted"),
    [
        (b"\x0e", True),
        (b"\x0e\x0f", False),
        (b"\x0e\x1b[!p", False),
        (b"\x0e\x1b]0;a\x0fb\x07", True),
        (b"\x1b]0;a\x0eb\x18\x1bPa\x0e\x1b\\", False),
    ],
)
def test_shifts_count_unless_they_are_in_a_string(output: bytes, shifted: bool) -> None:
    assert follow_settings(TerminalSettings(), output).shifted is shifted
