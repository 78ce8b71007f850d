"""When nothing is predicted, and what ends predictions."""

from __future__ import annotations

import pytest

from farhand_client.terminal.predicted_echo import (
    ECHO_TIME,
    MAX_FOLLOWED,
    MAX_PASTE,
    MEASURE_INTERVAL,
    QUIET_TIME,
    EchoProbe,
    PredictedEcho,
)
from farhand_client.terminal.screen import ScreenTracker
from tests.support.predicted_terminal import PredictedTerminal
from tests.support.typed_prompts import at_prompt


@pytest.mark.parametrize(
    "state",
    [b"\x1b[?25l", b"\x1b[4h", b"\x0e", b"\x1b(0", b"\x1b[?69h", b"\x1b[?2026h", b"\x1b[3", b"\xe6\xbc"],
    ids=[
        "no cursor",
        "insert mode",
        "shifted",
        "line drawing",
        "side margins",
        "synchronized",
        "sequence",
        "character",
    ],
)
def test_nothing_is_shown_where_it_could_not_be_taken_back(state: bytes) -> None:
    terminal, _ = at_prompt()
    terminal.type(b"b")
    terminal.output(state)
    terminal.type(b"c")
    assert terminal.user.display[0].rstrip() == terminal.plain.display[0].rstrip()


def test_a_paste_is_not_guessed() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"x" * (MAX_PASTE + 1))
    assert terminal.line() == "$ a"


def test_what_cannot_be_sent_is_not_guessed() -> None:
    terminal, _ = at_prompt()
    terminal.echo.held_back()
    terminal.type(b"b")
    assert terminal.line() == "$ a"


def test_a_flood_of_output_ends_the_guesses() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"b")
    terminal.output(b"line\r\n" * (MAX_FOLLOWED // 6 + 1))
    assert not terminal.echo.pending
    terminal.type(b"c")
    assert terminal.states[0] == terminal.states[1]
    terminal.output(b"$ ")
    terminal.now += QUIET_TIME
    terminal.settle()
    terminal.settle()
    terminal.type(b"d")
    terminal.output(b"d")
    terminal.settle()
    terminal.type(b"e")
    assert terminal.underlined == "e"


def test_a_resized_terminal_begins_again() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"b")
    terminal.hide()
    terminal.screen.resize(30, 6)
    assert terminal.echo.show(terminal.now, all_written=True) == b""
    assert not terminal.echo.shown


def test_a_terminal_that_was_painted_again_shows_nothing_predicted() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"b")
    terminal.echo.forget()
    assert (terminal.echo.shown, terminal.echo.pending, terminal.echo.hide()) == (False, False, b"")


def test_an_unanswered_probe_ends_the_guesses() -> None:
    terminal, _ = at_prompt()
    terminal.type(b"b")
    terminal.echo.answered(terminal.echo.probe(terminal.now), None)
    assert not terminal.echo.pending


def test_a_quick_connection_is_only_measured() -> None:
    echo = PredictedEcho(ScreenTracker(20, 6), "auto")
    assert echo.probe_due(5.0, measuring=False) == 5.0
    assert echo.probe_due(5.0, measuring=True) is None
    probe = echo.probe(5.0)
    echo.answered(probe, 0.001)
    assert echo.probe_due(5.5, measuring=False) is None
    echo.typed(b"x", 5.5)
    assert echo.probe_due(5.5, measuring=False) is None
    assert echo.probe_due(5.0 + MEASURE_INTERVAL, measuring=False) == 5.0 + MEASURE_INTERVAL
    assert not echo.pending


def test_output_matters_only_where_an_echo_may_be_predicted() -> None:
    echo, always = (PredictedEcho(ScreenTracker(80, 24), mode) for mode in ("auto", "always"))
    assert (echo.active, always.active) == (False, True)
    echo.answered(EchoProbe(0, 0), 0.001)
    assert not echo.active
    echo.answered(EchoProbe(0, 0), 10.0)
    assert echo.active


def test_a_slow_connection_is_predicted_as_soon_as_it_is_measured() -> None:
    terminal = PredictedTerminal("auto")
    terminal.echo.answered(terminal.echo.probe(terminal.now), 0.2)
    terminal.output(b"$ ")
    terminal.type(b"a")
    terminal.output(b"a")
    terminal.settle()
    terminal.type(b"b")
    assert terminal.underlined == "b"


def test_what_was_typed_before_the_first_measurement_is_not_guessed() -> None:
    terminal = PredictedTerminal("auto")
    terminal.output(b"$ ")
    terminal.type(b"a")
    terminal.echo.answered(terminal.echo.probe(terminal.now), 0.2)
    terminal.type(b"b")
    assert not terminal.echo.pending
    terminal.output(b"ab")
    terminal.settle()
    terminal.type(b"c")
    assert terminal.echo.pending


def test_each_input_is_probed_once_it_has_had_time_to_be_echoed() -> None:
    echo = PredictedEcho(ScreenTracker(20, 6), "always")
    assert echo.probe_due(1.0, measuring=False) is None
    for at in (1.0, 1.01, 1.04):
        echo.typed(b"x", at)
    assert echo.probe_due(1.04, measuring=False) == 1.0 + ECHO_TIME
    assert echo.probe(1.0 + ECHO_TIME + 0.02) == EchoProbe(settled=2, received=3)
    assert echo.probe_due(1.07, measuring=False) == 1.04 + ECHO_TIME
    assert echo.probe(1.09) == EchoProbe(settled=3, received=3)
    assert echo.probe_due(1.09, measuring=False) is None
