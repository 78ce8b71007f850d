"""Commands of the REPL's own: which lines are commands, how they are parsed, and what completes them."""

import re

import pytest

from farhand_client.repl.commands import (
    HELP_NOTES,
    REPL_COMMANDS,
    CommandCall,
    CompletionTarget,
    completion_target,
    has_word_before,
    help_text,
    is_repl_command,
    parse_command,
)


@pytest.mark.parametrize("line", [":jobs", "  :jobs", ":wq!", ":help cd", ":Jobs"])
def test_a_line_that_begins_with_a_colon_and_a_letter_is_for_the_repl(line: str) -> None:
    assert is_repl_command(line)


@pytest.mark.parametrize(
    "line",
    [
        *("", ":", ": jobs", ":>file", "::", "a :jobs", ":;jobs", "':jobs'", ":\njobs", ":é"),
        # A program of such a name can be run.
        *("help cd", "command help", "\\quit", "./quit", "quit 1", "?x", "quit; ls", "exit", "\u3000help", "quit=1"),
    ],
)
def test_every_other_line_is_for_the_shell(line: str) -> None:
    assert not is_repl_command(line)


@pytest.mark.parametrize(
    ("line", "call"),
    [
        (":jobs", CommandCall("jobs", ())),
        ("  :jobs   -a ", CommandCall("jobs", ("-a",))),
        (":attach 01a1fc79", CommandCall("attach", ("01a1fc79",))),
        (":kill 01a1 01b2", CommandCall("kill", ("01a1", "01b2"))),
        (":cd", CommandCall("cd", ())),
        (":cd 'My Docs'", CommandCall("cd", ("My Docs",))),
        (":cd My\\ Docs", CommandCall("cd", ("My Docs",))),
        (':cd "$HOME"', CommandCall("cd", ("$HOME",))),
        (":kill # b", CommandCall("kill", ("#", "b"))),
        (":env A='x y' -B", CommandCall("env", ("A=x y", "-B"))),
        (":host +web", CommandCall("host", ("+web",))),
        (":host\tweb", CommandCall("host", ("web",))),
        (":help :cd", CommandCall("help", (":cd",))),
        (":q", CommandCall("quit", ())),
        (":exit", CommandCall("quit", ())),
        ("help", CommandCall("help", ())),
        (" ? ", CommandCall("help", ())),
        ("quit", CommandCall("quit", ())),
        ("jobs", CommandCall("jobs", ())),
        ("fg", CommandCall("attach", ())),
        ("bye", CommandCall("quit", ())),
        ("logout\t", CommandCall("quit", ())),
    ],
)
def test_words_are_quoted_as_in_a_shell_and_nothing_is_expanded(line: str, call: CommandCall) -> None:
    assert parse_command(line) == call


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (":job", "there is no command :job; did you mean :jobs?"),
        (":attahc x", "there is no command :attahc; did you mean :attach?"),
        (":x", "there is no command :x; the commands are :attach, :cd, "),
        (":wq!", "':wq!' is not a command; the commands are :attach, "),
        (":attach a b", "usage: :attach [ID]"),
        (":kill", "usage: :kill ID…"),
        (":jobs -a -b", "usage: :jobs [-a]"),
        (":cd 'a", ":cd: a quote or a backslash is not closed"),
        (":cd a\\", ":cd: a quote or a backslash is not closed"),
    ],
)
def test_a_wrong_command_is_reported_with_a_suggestion(line: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        parse_command(line)


def test_help_has_a_line_for_each_command() -> None:
    lines = help_text(columns=120).split("\n")
    assert [line.split()[0] for line in lines[: len(REPL_COMMANDS)]] == [f":{name}" for name in REPL_COMMANDS]
    assert all(len(line) <= 120 for line in lines)


@pytest.mark.parametrize("name", ["jobs", ":jobs"])
def test_help_explains_a_single_command(name: str) -> None:
    assert help_text(name, 120) == f":jobs [-a]  {REPL_COMMANDS['jobs'].summary}"


def test_help_is_wrapped_between_words_at_any_width() -> None:
    for columns in range(20, 201):
        lines = help_text(columns=columns).split("\n")
        assert max(map(len, lines)) <= columns
        words = " ".join(" ".join(lines).split())
        for sentence in (":detach [ID] do not report a job's outcome; alone:", *HELP_NOTES):
            assert sentence.replace("ESCAPE", "~") in words


def test_help_names_the_keys_as_they_are() -> None:
    assert "Enter ^Ad leaves" in help_text(columns=120, escape="^A")
    assert "leaves it running" not in help_text(escape="")


def test_help_for_an_unknown_command_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean :kill"):
        help_text("kil")


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (":", CompletionTarget("commands", "")),
        (" :jo", CompletionTarget("commands", "jo")),
        (":attach ", CompletionTarget("runs", "", "")),
        (":attach 01a", CompletionTarget("runs", "01a", "01a")),
        (":kill 01a 01b", CompletionTarget("runs", "01b", "01a 01b")),
        (":host +we", CompletionTarget("hosts", "+we", "+we")),
        (":cd My\\ D", CompletionTarget("directories", "D", "My\\ D")),
        (":env A=1 -B", CompletionTarget("variables", "-B", "A=1 -B")),
        (":help :j", CompletionTarget("commands", ":j", ":j")),
        (":jobs ", CompletionTarget("", "", "")),
        (":nothing x", CompletionTarget("", "x", "x")),
    ],
)
def test_the_kind_of_word_at_the_cursor_is_known(before: str, expected: CompletionTarget) -> None:
    assert completion_target(before) == expected


@pytest.mark.parametrize("before", ["", "ls", ": ls", "ls :jobs", ":jobs\nls", "echo :"])
def test_shell_text_has_no_local_target(before: str) -> None:
    assert completion_target(before) is None


@pytest.mark.parametrize(
    ("words", "before"),
    [("", False), ("a", False), ("'a b", False), ("a\\ b", False), ("a ", True), ("'a b' c", True), (" a b", True)],
)
def test_the_first_word_is_told_from_later_ones(words: str, before: bool) -> None:
    assert has_word_before(words) is before
