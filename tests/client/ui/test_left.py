"""The sentence about left processes says how many were stopped, and what would have kept them."""

from __future__ import annotations

import pytest

from farhand_client import Exited
from farhand_client.results import Result
from farhand_client.ui.left import OPTION_OF_RUN, OPTION_ON_TERMINAL, process_names, stopped_sentence
from farhand_protocol import messages as m


def sentence(left: m.LeftProcesses | None) -> str | None:
    return stopped_sentence(Result(Exited(code=0), "id", 1.0, 0, 0, False, left_processes=left))


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (None, None),
        (m.LeftProcesses(count=2, names=("sleep",), pids=(7, 8)), None),
        (
            m.LeftProcesses(count=2, names=("sleep", "ssh-agent"), stopped=True),
            "2 processes left behind were stopped: sleep, ssh-agent; --leave-processes or policy keeps them",
        ),
        (
            m.LeftProcesses(count=1, names=("sleep",), stopped=True),
            "1 process left behind was stopped: sleep; --leave-processes or policy keeps it",
        ),
        (
            m.LeftProcesses(count=1, at_least=True, stopped=True),
            "at least 1 process left behind was stopped; --leave-processes or policy keeps it",
        ),
        (
            m.LeftProcesses(count=99, names=tuple("abcdefgh"), stopped=True),
            "99 processes left behind were stopped: a, b, c, d, e, f, g, h, …; --leave-processes or policy keeps them",
        ),
    ],
)
def test_stopped_processes_are_counted_and_named(left: m.LeftProcesses | None, expected: str | None) -> None:
    assert sentence(left) == expected


def test_another_command_names_the_command_that_has_the_option() -> None:
    left = m.LeftProcesses(count=1, names=("x",), stopped=True)
    result = Result(Exited(code=0), "id", 1.0, 0, 0, False, left_processes=left)
    assert str(stopped_sentence(result, OPTION_OF_RUN)).endswith("; farhand run --leave-processes or policy keeps it")
    keeping = "; nohup with --leave-processes or policy keeps it"
    assert str(stopped_sentence(result, OPTION_ON_TERMINAL)).endswith(keeping)
    assert stopped_sentence(result, None) == "1 process left behind was stopped: x"


def test_all_names_are_given_if_there_are_few_processes() -> None:
    assert process_names(m.LeftProcesses(count=8, names=tuple("abcdefgh"))) == "a, b, c, d, e, f, g, h"
