"""Lines are joined into commands, and commands that change the REPL's state are found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.lines import (
    MAX_COMMAND,
    Builtin,
    LineJoiner,
    background_command,
    decode,
    encode,
    is_blank,
    parse_builtin,
)


def commands(text: str) -> list[str]:
    joiner = LineJoiner()
    return [command for line in text.split("\n") if (command := joiner.feed(line)) is not None]


def test_lines_that_belong_together_become_one_command() -> None:
    assert commands("a\nif b\nthen c\nfi\necho 'd\ne'\nf") == ["a", "if b\nthen c\nfi", "echo 'd\ne'", "f"]


def test_the_unfinished_construct_is_known() -> None:
    joiner = LineJoiner()
    joiner.feed("cat <<E")
    joiner.feed("text")
    assert (joiner.unfinished, joiner.pending) == ("the here-document E", "cat <<E\ntext")


def test_the_size_of_a_command_is_limited_to_that_of_an_argument() -> None:
    joiner = LineJoiner()
    assert joiner.feed("#" * MAX_COMMAND) is not None
    with pytest.raises(ValueError, match="131071 bytes"):
        joiner.feed("#" * (MAX_COMMAND + 1))
    joiner.feed("cat <<E")
    for _ in range(MAX_COMMAND // 2001):
        joiner.feed("é" * 1000)
    with pytest.raises(ValueError, match="131071 bytes"):
        joiner.feed("é" * 1000)
    assert joiner.feed("next") == "next"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cd", Builtin("cd", "cd", "", "", "")),
        ("  cd  /tmp  ", Builtin("cd", "cd  /tmp", "/tmp", "", "")),
        ("cd x && make; y", Builtin("cd", "cd x", "x", "make; y", "y")),
        ("cd x && make", Builtin("cd", "cd x", "x", "make", "")),
        ("cd x; make || y", Builtin("cd", "cd x", "x", "make || y", "make || y")),
        ("cd 'a;b' # c\nls", Builtin("cd", "cd 'a;b'", "'a;b'", "# c\nls", "# c\nls")),
        ("cd x\nls", Builtin("cd", "cd x", "x", "ls", "ls")),
        ("cd x >/dev/null 2>&1 && y", Builtin("cd", "cd x >/dev/null 2>&1", "x >/dev/null 2>&1", "y", "")),
        ("export A=$(b; c) D", Builtin("export", "export A=$(b; c) D", "A=$(b; c) D", "", "")),
        ("unset A", Builtin("unset", "unset A", "A", "", "")),
        ("exit 3", Builtin("exit", "exit 3", "3", "", "")),
    ],
)
def test_a_builtin_is_found_at_the_beginning_of_a_text(text: str, expected: Builtin) -> None:
    assert parse_builtin(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "cdx",
        "echo cd",
        "'cd' x",
        "cd x | cat",
        "cd x || y",
        "cd x && a || b",
        "cd x &",
        "cd x && make &",
        "(cd x)",
        "cd() { :; }",
        "cd <<E\nE",
        "export A=1 | cat",
    ],
)
def test_a_command_that_a_shell_would_run_in_another_process_is_not_a_builtin(text: str) -> None:
    assert parse_builtin(text) is None


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("sleep 5 &", "sleep 5"),
        ("sleep 5&", "sleep 5"),
        ("a && b || c &", "a && b || c"),
        ("a | b |& c &", "a | b |& c"),
        ("a; b &", "a; b"),
        ("a\nb &", "a\nb"),
        ("a & # later", "a # later"),
        ("a &\n\n", "a"),
        ("echo '&' \"&\" \\& &", "echo '&' \"&\" \\&"),
        ("cat <<E &\n& x\nE", "cat <<E\n& x\nE"),
        ("if a; then b; fi &", "if a; then b; fi"),
        ("(a; b &) &", "(a; b &)"),
        ("a >f 2>&1 &", "a >f 2>&1"),
        ("a && \\\nb &", "a && \\\nb"),
        ("a & b &", "a & b\nwait"),
    ],
)
def test_an_ampersand_at_the_end_makes_a_job(text: str, rest: str) -> None:
    assert background_command(text) == rest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "&",
        "# a &",
        "a # &",
        "a & b",
        "a &;",
        "a &&",
        "echo '&'",
        'echo "a &"',
        "echo a \\&",
        "a &> f",
        "a >& f",
        "cat <<E\nx &\nE",
        "a & cat <<E\nx &\nE",
        "for i in 1; do a & done",
        "(a &)",
        "{ a & }",
        "echo $(a &)",
        "echo `a &`",
        "a & >x",
        "case x in a) b ;& esac",
    ],
)
def test_an_ampersand_elsewhere_is_left_to_the_shell(text: str) -> None:
    assert background_command(text) is None


@given(st.text(alphabet="ab'\"\\`$(){}<>;&|# \n\tE", max_size=40))
def test_every_text_can_be_examined(text: str) -> None:
    background_command(text)


@pytest.mark.parametrize(("text", "nothing"), [("", True), (" \t", True), ("# a\n  # b", True), ("a # b", False)])
def test_space_and_comments_are_blank(text: str, nothing: bool) -> None:
    assert is_blank(text) is nothing


def test_every_byte_survives_decoding_and_encoding() -> None:
    every = bytes(range(1, 256))
    assert encode(decode(every)) == every


@pytest.mark.parametrize(
    "text",
    [
        "function f {\necho a\n}",
        "function f\n{\necho a\n}",
        "function f() {\necho a\n}",
        "f()\n\n{\necho a\n}",
        "f ()\n(\nls\n)",
        "function f\necho a\nend",
        "function f --description 'x'\nif a\nbegin\nb\nend\nend\nend",
        "function f\nswitch a\ncase b\nfunction g\nend\nend\nend",
    ],
)
def test_a_function_is_complete_with_its_body(text: str) -> None:
    joiner = LineJoiner()
    assert [joiner.feed(line) for line in text.split("\n")][-2:] == [None, text]


@pytest.mark.parametrize(
    "text", ["a=()", "a+=()", "function f; echo; end", "function f { :; }", "f() { :; }", "f; end"]
)
def test_a_line_that_is_complete_runs_at_once(text: str) -> None:
    assert LineJoiner().feed(text) == text
