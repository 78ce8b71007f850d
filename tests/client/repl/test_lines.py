"""From lines to commands, and to those that change the REPL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.lines import MAX_COMMAND, Assembler, Own, background, blank, decode, encode, own


def commands(text: str) -> list[str]:
    assembler = Assembler()
    return [command for line in text.split("\n") if (command := assembler.feed(line)) is not None]


def test_lines_that_belong_together_become_one_command() -> None:
    assert commands("a\nif b\nthen c\nfi\necho 'd\ne'\nf") == ["a", "if b\nthen c\nfi", "echo 'd\ne'", "f"]


def test_what_waits_for_more_is_known() -> None:
    assembler = Assembler()
    assembler.feed("cat <<E")
    assembler.feed("text")
    assert (assembler.unfinished, assembler.rest) == ("the here-document E", "cat <<E\ntext")


def test_a_command_is_bounded_by_what_a_program_can_be_given() -> None:
    assembler = Assembler()
    assert assembler.feed("#" * MAX_COMMAND) is not None
    with pytest.raises(ValueError, match="131071 bytes"):
        assembler.feed("#" * (MAX_COMMAND + 1))
    assembler.feed("cat <<E")
    for _ in range(MAX_COMMAND // 2001):
        assembler.feed("é" * 1000)
    with pytest.raises(ValueError, match="131071 bytes"):
        assembler.feed("é" * 1000)
    assert assembler.feed("next") == "next"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cd", Own("cd", "cd", "", "", "")),
        ("  cd  /tmp  ", Own("cd", "cd  /tmp", "/tmp", "", "")),
        ("cd x && make; y", Own("cd", "cd x", "x", "make; y", "y")),
        ("cd x && make", Own("cd", "cd x", "x", "make", "")),
        ("cd x; make || y", Own("cd", "cd x", "x", "make || y", "make || y")),
        ("cd 'a;b' # c\nls", Own("cd", "cd 'a;b'", "'a;b'", "# c\nls", "# c\nls")),
        ("cd x\nls", Own("cd", "cd x", "x", "ls", "ls")),
        ("cd x >/dev/null 2>&1 && y", Own("cd", "cd x >/dev/null 2>&1", "x >/dev/null 2>&1", "y", "")),
        ("export A=$(b; c) D", Own("export", "export A=$(b; c) D", "A=$(b; c) D", "", "")),
        ("unset A", Own("unset", "unset A", "A", "", "")),
        ("exit 3", Own("exit", "exit 3", "3", "", "")),
    ],
)
def test_a_command_for_the_repl_is_found_at_the_beginning(text: str, expected: Own) -> None:
    assert own(text) == expected


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
def test_what_the_shell_would_run_elsewhere_is_left_to_it(text: str) -> None:
    assert own(text) is None


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
def test_an_ampersand_at_the_end_is_for_the_background(text: str, rest: str) -> None:
    assert background(text) == rest


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
def test_an_ampersand_elsewhere_is_the_shells(text: str) -> None:
    assert background(text) is None


@given(st.text(alphabet="ab'\"\\`$(){}<>;&|# \n\tE", max_size=40))
def test_nothing_that_can_be_typed_is_an_error(text: str) -> None:
    background(text)


@pytest.mark.parametrize(("text", "nothing"), [("", True), (" \t", True), ("# a\n  # b", True), ("a # b", False)])
def test_space_and_comments_are_nothing_to_run(text: str, nothing: bool) -> None:
    assert blank(text) is nothing


def test_bytes_survive_being_text() -> None:
    every = bytes(range(1, 256))
    assert encode(decode(every)) == every
