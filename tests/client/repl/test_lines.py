"""From lines to commands, and to those that change the REPL."""

import pytest

from farhand_client.repl.lines import MAX_COMMAND, Assembler, Own, blank, decode, encode, own


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


@pytest.mark.parametrize(("text", "nothing"), [("", True), (" \t", True), ("# a\n  # b", True), ("a # b", False)])
def test_space_and_comments_are_nothing_to_run(text: str, nothing: bool) -> None:
    assert blank(text) is nothing


def test_bytes_survive_being_text() -> None:
    every = bytes(range(1, 256))
    assert encode(decode(every)) == every
