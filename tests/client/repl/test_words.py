"""What is ours on the terminal, and the prompt."""

from __future__ import annotations

import pytest

from farhand_client.cli.printable import printable
from farhand_client.repl.link import Link
from farhand_client.repl.output import say
from farhand_client.repl.prompt import message
from farhand_client.repl.state import State


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Übung 日本", "plain Übung 日本"),
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\udcff", "\\udcff"),
    ],
)
def test_nothing_of_ours_makes_the_terminal_do_something(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_sentence_of_the_service_cannot_pass_for_another(capsys: pytest.CaptureFixture[str]) -> None:
    say("no\nfarhand: yes\x07")
    assert capsys.readouterr().err == "farhand: no\n  farhand: yes\\x07\n"


def shown(state: State, user: str = "ada", host: str = "build") -> str:
    link = Link(lambda: pytest.fail("nobody connects"))
    link.user, link.host = user, host
    return "".join(part[1] for part in message(link, state))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State(), "ada@build:~$ "),
        (State(code=3), "ada@build:~ [3]$ "),
        (State(code=139, ended="SIGSEGV"), "ada@build:~ [SIGSEGV]$ "),
        (State(code=124, ended="timeout"), "ada@build:~ [timeout]$ "),
        (State(shown=b"/a\x1b[2J\xff"), "ada@build:/a\\x1b[2J\\xff$ "),
    ],
)
def test_the_prompt_says_where_one_is_and_how_the_last_line_ended(state: State, expected: str) -> None:
    assert shown(state) == expected


def test_the_names_in_the_prompt_are_harmless() -> None:
    assert shown(State(), "root", "evil\x1b]0;x\x07") == "root@evil\\x1b]0;x\\x07:~# "
