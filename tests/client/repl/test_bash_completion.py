"""What bash-completion is asked, and how its answers are read. `test_completion` asks a real bash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import lists, text

from farhand_client.repl.bash_completion import (
    BASH_SCRIPT,
    MAX_WORDS,
    BashQuestion,
    Candidate,
    bash_question,
    parse_candidate,
)


@pytest.mark.parametrize(
    ("words", "arguments", "fixed"),
    [
        (["git", "che"], ["9", "1", "git che", "git", "che"], ""),
        (["git", ""], ["9", "1", "git ", "git", ""], ""),
        (["ls", "--color="], ["9", "2", "ls --color=", "ls", "--color", "="], "--color="),
        (["ls", "--color=al"], ["9", "3", "ls --color=al", "ls", "--color", "=", "al"], "--color="),
        (["scp", "web:", "x"], ["9", "3", "scp web: x", "scp", "web", ":", "x"], ""),
        (["x", "a=b:c"], ["9", "5", "x a=b:c", "x", "a", "=", "b", ":", "c"], "a=b:"),
        (["x", "", "y"], ["9", "2", "x  y", "x", "", "y"], ""),
    ],
)
def test_words_are_broken_as_readline_breaks_them(words: list[str], arguments: list[str], fixed: str) -> None:
    question = bash_question(words)
    assert question is not None
    assert question.arguments(9) == arguments
    assert question.fixed == fixed


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["git"],
        ["./git", "x"],
        ["/bin/git", "x"],
        ["-x", "y"],
        ["..", "y"],
        ["$x", "y"],
        ["é", "y"],
        ["git", "a b"],
        ["git", "$x"],
        ["git", "a\u3000"],
        ["git", "\udcff"],
        ["git", *("x" for _ in range(MAX_WORDS))],
    ],
)
def test_what_must_not_or_cannot_be_asked_is_not(words: list[str]) -> None:
    assert bash_question(words) is None


@given(lists(text("a1-_=:/~$`;&|<>(){}[]*?!#'\"\\ \n\t\u3000é\udcff", max_size=8), max_size=5))
def test_no_character_that_a_shell_acts_on_is_passed(words: list[str]) -> None:
    question = bash_question(["git", *words, "end"])
    assert question is not None
    passed = "".join(question.words)
    assert not set(passed) & set("$`;&|<>(){}[]*?!#'\"\\ \n\t")
    assert list(map(len, question.words)) == list(map(len, ["git", *words, "end"]))


@pytest.mark.parametrize(
    ("mark", "data", "candidate"),
    [
        (b"a", b"checkout ", Candidate("checkout", "", space=True, directory=False, is_name=False)),
        (b"a", b"--file=", Candidate("--file=", "", space=False, directory=False, is_name=False)),
        (b"n", b"--file", Candidate("--file", "", space=False, directory=False, is_name=False)),
        (b"a", b"get    (Show it)", Candidate("get", "Show it", space=True, directory=False, is_name=False)),
        (b"f", b"get  (1)", Candidate("get  (1)", "", space=True, directory=False, is_name=True)),
        (b"F", b"src", Candidate("src", "", space=False, directory=True, is_name=True)),
        (b"f", "ü\u3000".encode(), Candidate("ü\u3000", "", space=True, directory=False, is_name=True)),
        (b"a", b" ", None),
        (b"a", b"--no-...", None),
        (b"f", b"new\nline", None),
        (b"f", b"\xff", None),
        (b"a", b"\x1b[2J", None),
    ],
)
def test_an_entry_is_read_with_what_follows_it(mark: bytes, data: bytes, candidate: Candidate | None) -> None:
    assert parse_candidate(mark, data) == candidate


def test_the_script_gets_its_parameters_as_they_are_documented() -> None:
    assert BASH_SCRIPT.lstrip().startswith("farhand_left=$1 COMP_CWORD=$2 COMP_LINE=$3\n")
    assert BashQuestion(("git", "x")).arguments(3)[0] == "3"
