"""Whose line is whose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.output import LONGEST, Labelled


def test_each_line_says_whose_it_is_once_it_is_whole() -> None:
    web = Labelled("web")
    assert web.feed(b"one\ntw") == [b"web | one\n"]
    assert web.feed(b"o") == []
    assert web.feed(b"\n\nlast") == [b"web | two\n", b"web | \n"]
    assert web.rest() == [b"web | last\n"]
    assert web.rest() == []


def test_a_line_without_end_is_not_kept_in_memory() -> None:
    web = Labelled("web")
    pieces = web.feed(b"x" * (LONGEST + 10))
    assert pieces == [b"web | " + b"x" * LONGEST + b"\n"]
    assert web.rest() == [b"web | " + b"x" * 10 + b"\n"]


@given(st.lists(st.binary(max_size=8).map(lambda data: data.replace(b"x", b"\n"))))
def test_what_the_programs_wrote_is_all_there_as_it_was(chunks: list[bytes]) -> None:
    label = Labelled("h")
    lines = [line for chunk in chunks for line in label.feed(chunk)] + label.rest()
    assert all(line.startswith(b"h | ") and line.endswith(b"\n") for line in lines)
    shown = b"".join(line.removeprefix(b"h | ") for line in lines)
    assert shown.removesuffix(b"\n") == b"".join(chunks).removesuffix(b"\n")


@pytest.mark.parametrize("label", ["é", "\udcff"])
def test_any_name_is_a_label(label: str) -> None:
    assert Labelled(label).feed(b"a\n")[0].endswith(b" | a\n")
