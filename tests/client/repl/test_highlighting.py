"""Shell text is coloured while it is typed; no character is lost, and the time is linear in the text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis.strategies import text
from prompt_toolkit.document import Document

from farhand_client.repl import highlighting
from farhand_client.repl.highlighting import (
    COMMAND,
    COMMENT,
    EXPANSION,
    KEYWORD,
    MAX_HIGHLIGHTED,
    OPERATOR,
    OWN_COMMAND,
    STRING,
    ShellLexer,
)


def coloured(line: str) -> list[list[tuple[str, str]]]:
    """Return the chunks with a style, line by line."""
    document = Document(line)
    get = ShellLexer().lex_document(document)
    return [[(style, chunk) for style, chunk, *_ in get(at) if style] for at in range(document.line_count)]


@pytest.mark.parametrize(
    ("line", "chunks"),
    [
        ("ls -l", [[(COMMAND, "ls")]]),
        ("A=1 ls 'a b'", [[(COMMAND, "ls"), (STRING, "'a b'")]]),
        ("a | b && c", [[(COMMAND, "a"), (OPERATOR, "|"), (COMMAND, "b"), (OPERATOR, "&&"), (COMMAND, "c")]]),
        ('echo "x $HOME"', [[(COMMAND, "echo"), (STRING, '"x '), (EXPANSION, "$HOME"), (STRING, '"')]]),
        ("echo $'a' $1", [[(COMMAND, "echo"), (STRING, "$'a'"), (EXPANSION, "$1")]]),
        ("if a; then b; fi", [
            [
                *((KEYWORD, "if"), (COMMAND, "a"), (OPERATOR, ";"), (KEYWORD, "then")),
                *((COMMAND, "b"), (OPERATOR, ";"), (KEYWORD, "fi")),
            ]
        ]),
        ("echo $(date) # now", [
            [(COMMAND, "echo"), (EXPANSION, "$("), (COMMAND, "date"), (OPERATOR, ")"), (COMMENT, "# now")]
        ]),
        ("cat <<E\n$x\nE", [[(COMMAND, "cat"), (OPERATOR, "<<E")], [(STRING, "$x")], [(STRING, "E")]]),
        ("echo 'a\nb' c", [[(COMMAND, "echo"), (STRING, "'a")], [(STRING, "b'")]]),
        (" :host web", [[(OWN_COMMAND, ":host")]]),
        ("quit", [[(OWN_COMMAND, "quit")]]),
        ("quit 1", [[(COMMAND, "quit")]]),
        ("echo 'a\n:host", [[(COMMAND, "echo"), (STRING, "'a")], [(STRING, ":host")]]),
    ],
)  # fmt: skip
def test_what_a_word_means_decides_its_colour(line: str, chunks: list[list[tuple[str, str]]]) -> None:
    assert coloured(line) == chunks


@given(text("ab 'c\"$`(){}<>;&|#\\\n=:!if\u3000\udcff"))
def test_no_character_is_lost_and_nothing_is_refused(line: str) -> None:
    document = Document(line)
    get = ShellLexer().lex_document(document)
    assert ["".join(chunk[1] for chunk in get(at)) for at in range(document.line_count)] == document.lines
    assert get(document.line_count) == []


def test_a_text_that_is_too_long_to_be_typed_is_not_coloured() -> None:
    assert coloured("ls " * MAX_HIGHLIGHTED) == [[]]


def test_the_time_is_linear_in_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highlighting, "MAX_HIGHLIGHTED", 1 << 20)

    def seconds(count: int) -> float:
        line = "echo 'a b' \"x $HOME\" | grep $(date); " * count
        began = time.process_time()
        coloured(line)
        return time.process_time() - began

    assert seconds(2000) < 40 * max(min(seconds(200) for _ in range(3)), 0.001)
