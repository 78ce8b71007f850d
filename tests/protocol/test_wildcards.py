"""A pattern matches a whole text, in bounded time."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.wildcards import matches_pattern

TEXT = st.text("ab.", max_size=8)
PATTERN = st.text("ab.*?", max_size=8)


@given(TEXT, PATTERN)
def test_a_star_is_any_run_and_a_question_mark_one_character(text: str, pattern: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    assert matches_pattern(text, pattern) == bool(re.fullmatch(expression, text))


def test_brackets_are_plain_characters() -> None:
    assert matches_pattern("[::1]:22", "[::1]:*")
    assert not matches_pattern("a", "[a]")


def test_a_pattern_of_many_stars_is_matched_quickly() -> None:
    started = time.process_time()
    assert not matches_pattern("a" * 2000, "*a" * 500 + "b")
    assert time.process_time() - started < 2
