"""Output is written unchanged for one host, and labelled line by line for several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.output import MAX_LABELLED_LINE, LineLabeller


def test_each_complete_line_is_labelled() -> None:
    web = LineLabeller("web")
    assert web.feed(b"one\ntw") == [b"web | one\n"]
    assert web.feed(b"o") == []
    assert web.feed(b"\n\nlast") == [b"web | two\n", b"web | \n"]
    assert web.rest() == [b"web | last\n"]
    assert web.rest() == []


def test_a_line_that_is_too_long_is_cut() -> None:
    web = LineLabeller("web")
    lines = web.feed(b"x" * (MAX_LABELLED_LINE + 10))
    assert lines == [b"web | " + b"x" * MAX_LABELLED_LINE + b"\n"]
    assert web.rest() == [b"web | " + b"x" * 10 + b"\n"]


@given(st.lists(st.binary(max_size=8).map(lambda data: data.replace(b"x", b"\n"))))
def test_labels_are_all_that_is_added(chunks: list[bytes]) -> None:
    label = LineLabeller("h")
    lines = [line for chunk in chunks for line in label.feed(chunk)] + label.rest()
    assert all(line.startswith(b"h | ") and line.endswith(b"\n") for line in lines)
    shown = b"".join(line.removeprefix(b"h | ") for line in lines)
    assert shown.removesuffix(b"\n") == b"".join(chunks).removesuffix(b"\n")


@pytest.mark.parametrize("label", ["é", "\udcff"])
def test_every_name_can_be_a_label(label: str) -> None:
    assert LineLabeller(label).feed(b"a\n")[0].endswith(b" | a\n")
