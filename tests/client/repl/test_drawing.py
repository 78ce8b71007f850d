"""Characters that could not be seen are drawn so that they can be, and the cursor stays where it belongs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import text
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.controls import BufferControl
from prompt_toolkit.layout.processors import Transformation, TransformationInput

from farhand_client.repl.drawing import BLANK_STYLE, CONTROL_STYLE, HiddenCharacters, drawn_as


def drawn(fragments: StyleAndTextTuples) -> Transformation:
    line = "".join(fragment[1] for fragment in fragments)
    given = TransformationInput(
        BufferControl(Buffer()), Document(line), 0, lambda at: at, fragments, width=80, height=24
    )
    return HiddenCharacters().apply_transformation(given)


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("\u2028", "<2028>"),
        ("\u202e", "<202e>"),
        ("\u200b", "<200b>"),
        ("\ufeff", "<feff>"),
        ("\u00ad", "<00ad>"),
        ("\u3164", "<3164>"),
        ("\U000e0041", "<e0041>"),
        ("\udcff", "\\xff"),
        ("\ud800", "<d800>"),
        *((char, char) for char in "aé日\u3000\u00a0\u0301\u200d\ufe0f\ue0b0\t\x1b\x9b\U0001f469"),
    ],
)
def test_only_characters_that_could_not_be_seen_are_escaped(char: str, shown: str) -> None:
    assert drawn_as(char) == shown


def test_a_line_without_hidden_characters_passes_unchanged() -> None:
    fragments: StyleAndTextTuples = [("bold", "echo"), ("", " é日")]
    assert drawn(fragments).fragments is fragments


def test_what_is_escaped_or_looks_like_a_space_is_marked() -> None:
    assert drawn([("x", "a\u202eb\u3000")]).fragments == [
        ("x", "a"),
        ("x" + CONTROL_STYLE, "<202e>"),
        ("x", "b"),
        ("x" + BLANK_STYLE, "\u3000"),
    ]


@given(text("a\u202e\u3000\udcff日"))
def test_every_position_of_the_cursor_is_drawn_where_its_character_is(line: str) -> None:
    transformation = drawn([("", line)])
    shown = "".join(fragment[1] for fragment in transformation.fragments)
    for at, char in enumerate(line):
        column = transformation.source_to_display(at)
        assert shown.startswith(drawn_as(char), column)
        assert transformation.display_to_source(column) == at
        assert transformation.display_to_source(column + len(drawn_as(char)) - 1) == at
    for beyond in range(3):
        column = transformation.source_to_display(len(line) + beyond)
        assert column == len(shown) + beyond
        assert transformation.display_to_source(column) == len(line) + beyond
