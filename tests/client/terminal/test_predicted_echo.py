"""Typed characters are shown before their echo, never where there is none, and nothing of it remains."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.line_editors import LineEditor, keys
from tests.support.predicted_terminal import PredictedTerminal
from tests.support.terminal_output import COMMANDS
from tests.support.typed_prompts import at_prompt


def test_nothing_is_shown_before_the_first_echo() -> None:
    terminal = PredictedTerminal()
    terminal.output(b"$ ")
    terminal.type(b"l")
    probe = terminal.probe()
    terminal.type(b"s")
    assert (terminal.line(), terminal.written) == ("$", b"$ ")
    terminal.output(b"l")
    assert terminal.line() == "$ l"
    terminal.answer(probe)
    assert (terminal.line(), terminal.underlined) == ("$ ls", "s")


def test_a_typed_line_is_shown_at_once_and_underlined_until_it_is_echoed() -> None:
    terminal, editor = at_prompt()
    for key in keys("bc d"):
        terminal.type(key)
    assert (terminal.line(), terminal.underlined, terminal.user.cursor.x) == ("$ abc d", "bcd", 7)
    terminal.output(editor.reads("bc"))
    assert (terminal.line(), terminal.underlined, terminal.user.cursor.x) == ("$ abc d", "d", 7)
    terminal.output(editor.reads(" d"))
    assert terminal.underlined == ""
    assert terminal.states[0] == terminal.states[1]
    terminal.settle()
    assert not terminal.echo.pending


def test_each_line_after_a_known_prompt_is_shown_from_its_first_character_on() -> None:
    terminal, editor = at_prompt(LineEditor(result=b"result\r\n"))
    terminal.type(b"\r")
    terminal.output(editor.reads("\r"))
    terminal.settle()
    terminal.type(b"x")
    assert terminal.line(2) == "$ x"


@pytest.mark.parametrize("brackets", [False, True])
def test_an_unknown_prompt_has_to_prove_that_it_echoes(brackets: bool) -> None:
    terminal, editor = at_prompt(LineEditor(brackets=brackets))
    terminal.type(b"\r")
    terminal.output(editor.reads("\r") + (b"\r~$ " if brackets else b""))
    terminal.settle()
    terminal.type(b"x")
    assert terminal.line(1) in ("$", "~$")


@pytest.mark.parametrize("mask", [b"", b"*"])
def test_a_password_is_never_shown(mask: bytes) -> None:
    terminal, _ = at_prompt()
    terminal.type(b"\r")
    terminal.output(b"\r\n\x1b[?2004l\rPassword: ")
    terminal.settle()
    for key in keys("*secret*"):
        terminal.type(key)
        terminal.output(mask)
        terminal.settle()
        terminal.type(key)
        assert terminal.line(1) in ("Password:" + hidden for hidden in ("", *(" " + "*" * n for n in range(20))))
        terminal.output(mask)
        terminal.settle()
    assert b"secret" not in terminal.written
    assert not set("secrt") & set(terminal.line(1).removeprefix("Password:"))


def test_a_password_typed_ahead_is_not_shown() -> None:
    terminal, _ = at_prompt()
    for key in keys("\rxyz"):
        terminal.type(key)
    terminal.output(b"\r\n\x1b[?2004l\rPassword: ")
    for _ in range(3):
        terminal.settle()
        terminal.type(b"z")
    assert set("xyz") & set("".join(terminal.user.display)) == set()


def test_a_program_that_begins_to_hide_what_is_typed_ends_the_trust() -> None:
    terminal, _ = at_prompt()
    terminal.output(b"\r\nPIN: ")  # nobody has pressed Enter
    terminal.type(b"7")
    assert terminal.line(1) == "PIN:"


@pytest.mark.parametrize(
    ("typed", "guessed", "column"),
    [
        ("bc\x7f", "$ ab", 4),
        ("\x7f\x7f\x7f\x7f", "$", 2),
        ("bc<<x", "$ axbc", 4),
        ("bc<\x7f", "$ ac", 3),
        ("bc<<>y", "$ abyc", 5),
        ("b>>>c", "$ abc", 5),
        ("<<<<<<z", "$ za", 3),
    ],
)
def test_a_line_is_edited_as_by_the_program(typed: str, guessed: str, column: int) -> None:
    terminal, editor = at_prompt()
    # What is typed before the cursor was ever moved begins at a known place.
    terminal.type(b"\r")
    terminal.output(editor.reads("\r"))
    terminal.settle()
    for key in ("a", *typed):
        terminal.type(*keys(key))
    assert (terminal.line(1), terminal.user.cursor.x) == (guessed, column)
    terminal.output(editor.reads("a" + typed))
    terminal.settle()
    assert (terminal.line(1), terminal.user.cursor.x) == (guessed, column)
    assert terminal.states[0] == terminal.states[1]
    assert not terminal.echo.pending


def test_a_wrong_guess_leaves_no_trace() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"d")
    terminal.type(b"d")
    assert terminal.underlined == "dd"
    terminal.output(b"\x1b[3G\x1b[K")  # as `dd` in vi mode
    terminal.settle()
    assert terminal.states[0] == terminal.states[1]
    terminal.type(b"x")
    assert terminal.line() == "$"


def test_a_line_longer_than_the_row_goes_on_in_the_next_one() -> None:
    terminal, _ = at_prompt(columns=10)
    terminal.output(b"\n" * 5)  # to the last row, where the terminal scrolls
    terminal.output(b"\r$ ")
    terminal.type(b"1")
    terminal.output(b"1")
    terminal.settle()
    for key in keys("23456789"):
        terminal.type(key)
    assert terminal.line(5) == "$ 1234567"
    terminal.output(b"2345678 \r9")
    terminal.settle()
    assert (terminal.line(4), terminal.line(5)) == ("$ 12345678", "9")
    terminal.type(b"0")
    assert (terminal.line(5), terminal.underlined) == ("90", "0")


def test_what_is_typed_after_an_unknown_key_is_shown_from_where_its_effect_ends() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"\t")
    terminal.output(b"lpha/")
    terminal.settle()
    terminal.type(b"x")
    terminal.output(b"x")
    terminal.settle()
    terminal.type(b"y")
    assert (terminal.line(), terminal.underlined) == ("$ alpha/xy", "y")


def test_what_is_typed_while_an_answer_is_on_the_way_is_guessed_from_the_new_screen() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"\t")
    after_tab = terminal.probe()
    terminal.type(b"x")
    after_x = terminal.probe()
    terminal.type(b"y")
    terminal.output(b"lpha/")
    terminal.answer(after_tab)
    assert terminal.line() == "$ alpha/"
    terminal.output(b"x")
    terminal.answer(after_x)
    assert (terminal.line(), terminal.underlined) == ("$ alpha/xy", "y")


def test_a_suggestion_behind_the_cursor_stays_where_it_is() -> None:
    terminal, _ = at_prompt()
    terminal.output(b"\x1b[90mpple pie\x1b[m\x1b[8D")
    terminal.type(b"p")
    terminal.output(b"p")
    terminal.settle()
    terminal.type(b"r")
    assert (terminal.line(), terminal.underlined) == ("$ aprle pie", "r")
    terminal.output(b"r\x1b[K")
    terminal.settle()
    assert terminal.line() == "$ apr"


# Whatever happens


_TYPED = st.sampled_from([b"a", b"e", b"x", b" ", b"\x7f", b"\x1b[C", b"\x1b[D", b"\r", b"\t", "ß漢".encode()])


_OUTPUT = COMMANDS.map(b"".join) | st.sampled_from([b"a", b"e", b"x", b"\x1b[?2004h", "\u0301".encode()])


_HALVES = st.sampled_from([(b"\x1b[3", b"1m"), (b"\xc3", b"\x9f"), (b"\x1b", b"[1;1H"), (b"\x1b]0;t", b"itle\x07")])


@settings(max_examples=50)
@given(st.lists(st.one_of(st.tuples(_TYPED), st.tuples(_OUTPUT, _TYPED), st.tuples(_HALVES, _TYPED), st.none())))
def test_nothing_remains_of_predictions_whatever_is_typed_and_shown(steps: list[tuple[Any, ...] | None]) -> None:
    terminal = PredictedTerminal()
    for step in steps:
        match step:
            case None:
                terminal.settle()
            case ((first, second), typed):
                terminal.output(first)
                terminal.type(typed)
                terminal.output(second)
            case (output, typed):
                terminal.output(output)
                terminal.type(typed)
            case (typed,):
                terminal.type(typed)
    terminal.hide()
    user, plain = terminal.states
    assert user == plain


_SECRETS = st.tuples(st.text("QWERZ", min_size=1, max_size=3), st.booleans(), st.sampled_from([b"", b"*", b"\x1b[K"]))


@settings(max_examples=50)
@given(st.lists(_SECRETS, max_size=8), st.integers(0, 8), st.binary(max_size=2))
def test_whenever_a_password_is_typed_nothing_of_it_is_shown(
    steps: list[tuple[str, bool, bytes]], prompt_after: int, correction: bytes
) -> None:
    terminal, _ = at_prompt()
    terminal.type(b"\r")
    for number, (typed, settle, mask) in enumerate(steps):
        if number == prompt_after:
            terminal.output(b"\r\n\x1b[?2004l\rPassword: ")
        for key in keys(typed):
            terminal.type(key)
            terminal.type(correction)
            if number > prompt_after:
                terminal.output(mask)
        if settle:
            terminal.settle()
    assert not (set(b"QWERZ") - set(correction)) & set(terminal.written)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text("ab <>\x7f\r", max_size=4), st.integers(0, 30), st.booleans()), max_size=12))
def test_after_everything_is_echoed_the_screen_is_that_without_prediction(
    steps: list[tuple[str, int, bool]],
) -> None:
    terminal, editor = PredictedTerminal(), LineEditor(result=b"done\r\n")
    waiting = editor.start()
    for typed, size, settle in steps:
        for key in keys(typed):
            terminal.type(key)
        waiting += editor.reads(typed)
        terminal.output(waiting[:size])
        waiting = waiting[size:]
        if settle:
            terminal.output(waiting)
            waiting = b""
            terminal.settle()
    terminal.output(waiting)
    terminal.settle()
    user, plain = terminal.states
    assert user == plain
    assert not terminal.echo.pending
