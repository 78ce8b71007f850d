"""Guesses are judged by what the screen shows, wherever it has scrolled."""

from __future__ import annotations

from farhand_client.terminal.emulator import Emulator
from farhand_client.terminal.grid import BLANK_CELL, DEFAULT_ATTRIBUTES
from farhand_client.terminal.guesses import CursorGuess, Guesses, Verdict, cursor_of
from farhand_client.terminal.settings import TerminalSettings

X = ("x", DEFAULT_ATTRIBUTES)


def emulated(output: bytes, rows: int = 3) -> Emulator:
    emulator = Emulator(10, rows, TerminalSettings())
    emulator.feed(output)
    return emulator


def guessing_x(screen: Emulator) -> Guesses:
    guesses = Guesses()
    guesses.expect(screen.y + screen.scrolled, screen.x, X, 2, 1, screen)
    return guesses


def test_a_guess_is_judged_once_its_input_is_settled() -> None:
    screen = emulated(b"$ ")
    guesses = guessing_x(screen)
    assert guesses.judge_cells(0, 1, screen) == Verdict(True, 1)
    assert guesses
    assert guesses.judge_cells(1, 1, screen) == Verdict(False, 1)
    screen.feed(b"x")
    assert guessing_x(emulated(b"$ ")).judge_cells(1, 1, screen) == Verdict(True, 2)


def test_a_guess_scrolls_with_its_row() -> None:
    screen = emulated(b"\n\n\n$ ")
    guesses = guessing_x(screen)
    screen.feed(b"x\r\n\n")
    assert guesses.judge_cells(1, 1, screen) == Verdict(True, 2)


def test_a_guess_that_has_scrolled_away_is_neither_right_nor_wrong() -> None:
    screen = emulated(b"$ ")
    guesses = guessing_x(screen)
    screen.feed(b"\n" * 9)
    assert guesses.judge_cells(1, 1, screen) == Verdict(True, 1)
    assert not guesses


def test_what_was_expected_before_proves_nothing() -> None:
    screen = emulated(b"$ ")
    guesses = guessing_x(screen)
    guesses.expect(0, 2, BLANK_CELL, 2, 2, screen)
    guesses.expect(0, 2, X, 3, 3, screen)
    screen.feed(b"x")
    assert guesses.judge_cells(3, 1, screen) == Verdict(True, 1)


def test_a_masked_password_proves_nothing() -> None:
    screen = emulated(b"Password: ", rows=2)
    guesses = Guesses()
    guesses.expect(1, 0, ("*", DEFAULT_ATTRIBUTES), 2, 1, screen)
    screen.feed(b"\r\n*")
    assert guesses.judge_cells(1, 1, screen) == Verdict(True, 1)


def test_following_guesses_take_on_the_attributes_of_the_echo() -> None:
    screen = emulated(b"")
    guesses = guessing_x(screen)
    guesses.expect(0, 1, X, 2, 2, screen)
    screen.feed(b"\x1b[31mx")
    guesses.judge_cells(1, 1, screen)
    cell = guesses.cell(0, 1, screen)
    assert cell is not None
    assert cell[1] == screen.settings.attributes


def test_unknown_cells_count_as_text() -> None:
    screen = emulated(b"a b")
    guesses = Guesses()
    assert guesses.text_end(0, 0, screen) == 3
    guesses.expect(0, 4, None, 2, 1, screen)
    assert guesses.text_end(0, 0, screen) == 5
    assert guesses.cell(0, 4, screen) is None


def test_only_the_last_guess_of_the_cursor_counts() -> None:
    screen = emulated(b"ab")
    guesses = Guesses()
    guesses.cursors += [CursorGuess(0, 7, 2, 1), CursorGuess(0, 2, 2, 2)]
    assert guesses.judge_cursor(1, screen)
    assert guesses.judge_cursor(2, screen)
    assert not guesses.cursors
    guesses.cursors.append(CursorGuess(0, 7, 2, 3))
    assert not guesses.judge_cursor(3, screen)


def test_a_full_row_continues_in_the_next_one() -> None:
    assert cursor_of(emulated(b"x" * 10)) == (1, 0)
    assert cursor_of(emulated(b"x" * 9)) == (0, 9)
