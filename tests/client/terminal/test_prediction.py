"""Guesses are shown once their epoch is confirmed, and dropped once one is wrong."""

from __future__ import annotations

from farhand_client.terminal.emulator import Emulator
from farhand_client.terminal.keystrokes import KeystrokeParser
from farhand_client.terminal.prediction import MAX_PROMPTS, MAX_UNSETTLED, Predictor
from farhand_client.terminal.settings import TerminalSettings


class Typing:
    """A predictor, and the screen of the program that it predicts."""

    def __init__(self, *, columns: int = 20) -> None:
        self.screen = Emulator(columns, 6, TerminalSettings())
        self.predictor = Predictor()
        self._parser = KeystrokeParser()

    def type(self, data: bytes) -> None:
        self.predictor.type(self._parser.feed(data), self.screen)

    def echo(self, data: bytes) -> None:
        """Type what is echoed as `data`, and let that be acknowledged."""
        self.type(data)
        self.screen.feed(data)
        self.settle()

    def settle(self) -> None:
        self.predictor.acknowledge(self.predictor.typed, self.predictor.typed, self.screen)

    @property
    def shown(self) -> str:
        predicted = self.predictor.predicted(self.screen)
        return "" if predicted is None else "".join(text for _, (text, _) in sorted(predicted.cells.items()))


def test_guesses_are_shown_once_one_of_them_has_proved_right() -> None:
    typing = Typing()
    typing.type(b"ab")
    assert (typing.shown, typing.predictor.pending) == ("", True)
    typing.screen.feed(b"ab")
    typing.settle()
    assert not typing.predictor.pending
    typing.type(b"c")
    assert typing.shown == "c"


def test_an_echo_that_is_not_acknowledged_proves_nothing() -> None:
    typing = Typing()
    typing.type(b"a")
    typing.screen.feed(b"a")
    typing.type(b"b")
    assert typing.shown == ""


def test_a_character_that_was_there_before_proves_nothing() -> None:
    typing = Typing()
    typing.screen.feed(b"aaa\r")
    typing.type(b"a")
    typing.screen.feed(b"a")
    typing.settle()
    typing.type(b"b")
    assert typing.shown == ""


def test_a_wrong_guess_drops_all_of_them() -> None:
    typing = Typing()
    typing.echo(b"a")
    typing.type(b"b")
    typing.predictor.acknowledge(typing.predictor.typed - 1, typing.predictor.typed - 1, typing.screen)
    assert typing.shown == "b"
    typing.settle()
    assert not typing.predictor.pending
    typing.type(b"c")
    assert typing.shown == ""


def test_what_the_program_had_not_received_is_guessed_again_after_a_wrong_guess() -> None:
    typing = Typing()
    typing.echo(b"a")
    typing.type(b"b")
    typing.type(b"c")
    typing.screen.feed(b"!")
    typing.predictor.acknowledge(2, 2, typing.screen)
    assert typing.shown == ""
    typing.screen.feed(b"c")
    typing.settle()
    typing.type(b"d")
    assert typing.shown == "d"


def test_a_cursor_elsewhere_than_expected_is_a_wrong_guess() -> None:
    typing = Typing()
    typing.echo(b"a")
    typing.type(b"b")
    typing.screen.feed(b"b\r")
    typing.settle()
    typing.type(b"c")
    assert typing.shown == ""


def test_a_key_after_which_the_text_moves_does_not_make_earlier_guesses_wrong() -> None:
    typing = Typing()
    typing.screen.feed(b"\x1b[?2004h$ ")
    typing.echo(b"a")
    typing.type(b"b")
    typing.type(b"\r")
    typing.screen.feed(b"\x1b[2J\x1b[H$ ")  # as `clear` does
    typing.predictor.acknowledge(2, 3, typing.screen)
    typing.settle()
    typing.type(b"c")
    assert typing.shown == "c"


def test_a_trusted_prompt_without_an_echo_is_trusted_no_more() -> None:
    typing = Typing()
    typing.screen.feed(b"\x1b[?2004h$ ")
    typing.echo(b"a")
    for shown in ("b", ""):
        typing.type(b"\r")
        typing.screen.feed(b"\r\n$ ")
        typing.settle()
        typing.type(b"b")
        assert typing.shown == shown
        typing.settle()


def test_only_so_many_prompts_are_remembered() -> None:
    typing = Typing()
    typing.screen.feed(b"\x1b[?2004h")
    for number in [*range(MAX_PROMPTS + 1), 0, MAX_PROMPTS]:
        typing.screen.feed(b"\r\n%d$ " % number)
        typing.type(b"\r")
        typing.settle()
        typing.type(b"a")
        known = typing.shown == "a"
        typing.screen.feed(b"a")
        typing.settle()
        if number == 0:
            assert not known
    assert known


def test_too_much_typed_ahead_is_not_kept() -> None:
    typing = Typing()
    typing.echo(b"a")
    for _ in range(MAX_UNSETTLED + 1):
        typing.type(b"b")
    assert not typing.predictor.pending


def test_another_screen_ends_the_guesses() -> None:
    typing = Typing()
    typing.echo(b"a")
    typing.type(b"b")
    typing.screen.feed(b"\x1b[?1049h")
    assert typing.shown == ""
    typing.type(b"c")
    typing.settle()
    assert typing.shown == ""


def test_a_wide_character_is_not_deleted_by_guessing() -> None:
    typing = Typing()
    typing.screen.feed("漢".encode())
    typing.echo(b"a")
    typing.type(b"\x7f")
    typing.type(b"\x7f")
    predicted = typing.predictor.predicted(typing.screen)
    assert predicted is not None
    assert predicted.column == 2


def test_text_of_several_colours_is_not_shifted() -> None:
    typing = Typing()
    typing.screen.feed(b"\x1b[31mab\x1b[32mcd\x1b[m\x1b[4D")
    typing.type(b"\x1b[C")
    typing.screen.feed(b"\x1b[C")
    typing.settle()
    typing.type(b"x")
    typing.screen.feed(b"\x1b[31mx\x1b[31mb\x1b[32mcd\x1b[m\x1b[3D")
    typing.settle()
    typing.type(b"\x7f")
    typing.type(b"y")
    assert typing.shown == ""
