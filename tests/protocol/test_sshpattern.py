import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import sshpattern

TEXT = st.text("ab.", max_size=8)
PATTERN = st.text("ab.*?", max_size=8)


@given(TEXT, PATTERN)
def test_a_star_is_any_run_and_a_question_mark_one_character(text: str, pattern: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    assert sshpattern.matches_pattern(text, pattern) == bool(re.fullmatch(expression, text))


def test_brackets_are_plain_characters() -> None:
    assert sshpattern.matches_pattern("[::1]:22", "[::1]:*")
    assert not sshpattern.matches_pattern("a", "[a]")


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    started = time.process_time()
    assert not sshpattern.matches_pattern("a" * 2000, "*a" * 500 + "b")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("web1.example.net", True),
        ("WEB1.Example.NET", True),
        ("db1,web?.example.net", True),
        ("*.example.net,!web1.*", False),
        ("!web2.*,*", True),
        ("!*", False),
        ("example.net", False),
        ("", False),
    ],
)
def test_a_host_is_in_a_list_if_a_pattern_matches_and_no_negated_one_does(patterns: str, found: bool) -> None:
    assert sshpattern.matches_host_list(("web1.example.net",), patterns) is found


def test_a_host_with_two_names_is_kept_out_by_either() -> None:
    assert not sshpattern.matches_host_list(("web1", "10.0.0.1"), "web1,!10.*")
