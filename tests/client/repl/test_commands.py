"""Which line is the REPL's own, and what it asks for."""

import re

import pytest

from farhand_client.repl.commands import TABLE, Asked, Call, asked, help_text, is_own, parse


@pytest.mark.parametrize("line", [":jobs", "  :jobs", ":wq!", ":help cd", ":Jobs"])
def test_a_colon_and_a_letter_are_for_the_repl(line: str) -> None:
    assert is_own(line)


@pytest.mark.parametrize("line", ["", ":", ": jobs", ":>file", "::", "a :jobs", ":;jobs", "':jobs'", ":\njobs", ":é"])
def test_everything_else_is_the_shells(line: str) -> None:
    assert not is_own(line)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        (":jobs", Call("jobs", ())),
        ("  :jobs   -a ", Call("jobs", ("-a",))),
        (":attach 01a1fc79", Call("attach", ("01a1fc79",))),
        (":kill 01a1 01b2", Call("kill", ("01a1", "01b2"))),
        (":cd", Call("cd", ())),
        (":cd 'My Docs'", Call("cd", ("My Docs",))),
        (":cd My\\ Docs", Call("cd", ("My Docs",))),
        (':cd "$HOME"', Call("cd", ("$HOME",))),
        (":kill # b", Call("kill", ("#", "b"))),
        (":env A='x y' -B", Call("env", ("A=x y", "-B"))),
        (":host +web", Call("host", ("+web",))),
        (":host\tweb", Call("host", ("web",))),
        (":help :cd", Call("help", (":cd",))),
    ],
)
def test_words_are_quoted_as_in_a_shell_and_nothing_is_expanded(line: str, call: Call) -> None:
    assert parse(line) == call


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (":job", "there is no command :job; did you mean :jobs?"),
        (":attahc x", "there is no command :attahc; did you mean :attach?"),
        (":q", "there is no command :q; there are :attach, :cd, "),
        (":wq!", "':wq!' is no command; there are :attach, "),
        (":attach", "usage: :attach ID"),
        (":kill", "usage: :kill ID…"),
        (":jobs -a -b", "usage: :jobs [-a]"),
        (":cd 'a", ":cd: a quote or a backslash has no end"),
        (":cd a\\", ":cd: a quote or a backslash has no end"),
    ],
)
def test_what_is_wrong_is_said_with_what_may_be_meant(line: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        parse(line)


def test_help_has_a_line_for_each_command() -> None:
    lines = help_text().split("\n")
    assert [line.split()[0] for line in lines[: len(TABLE)]] == [f":{name}" for name in TABLE]
    assert all(len(line) <= 120 for line in lines)


@pytest.mark.parametrize("name", ["jobs", ":jobs"])
def test_help_says_what_one_command_does(name: str) -> None:
    assert help_text(name) == f":jobs [-a]  {TABLE['jobs'].summary}"


def test_help_for_nothing_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean :kill"):
        help_text("kil")


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (":", Asked("commands", "")),
        (" :jo", Asked("commands", "jo")),
        (":attach ", Asked("runs", "", "")),
        (":attach 01a", Asked("runs", "01a", "01a")),
        (":kill 01a 01b", Asked("runs", "01b", "01a 01b")),
        (":host +we", Asked("hosts", "+we", "+we")),
        (":cd My\\ D", Asked("directories", "D", "My\\ D")),
        (":env A=1 -B", Asked("variables", "-B", "A=1 -B")),
        (":help :j", Asked("commands", ":j", ":j")),
        (":jobs ", Asked("", "", "")),
        (":nothing x", Asked("", "x", "x")),
    ],
)
def test_what_could_stand_at_the_cursor_is_known(before: str, expected: Asked) -> None:
    assert asked(before) == expected


@pytest.mark.parametrize("before", ["", "ls", ": ls", "ls :jobs", ":jobs\nls", "echo :"])
def test_what_is_the_shells_is_completed_as_such(before: str) -> None:
    assert asked(before) is None
