"""Sizes, times and remote text on the user's terminal."""

from __future__ import annotations

import pytest

from farhand_client.ui.text import (
    display_width,
    format_bytes,
    format_size,
    format_span,
    format_time,
    truncate,
    truncate_start,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (120, "120 s"), (600, "10 min"), (7200.0, "120 min"), (86400, "24 h"), (864000, "10 days")],
)
def test_spans_are_formatted_with_small_numbers(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.00s"),
        (9.99, "9.99s"),
        (9.999, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (3599.6, "1h00m"),
        (90061, "1d01h"),
    ],
)
def test_times_are_formatted_in_six_characters(seconds: float, words: str) -> None:
    assert format_time(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0K"),
        (10_240, "10K"),
        (1_023_500, "1.0M"),
        (1 << 40, "1.0T"),
        (2**63 - 1, "8.0E"),
    ],
)
def test_sizes_are_formatted_in_five_characters(count: int, words: str) -> None:
    assert format_size(count) == words


@pytest.mark.parametrize(("columns", "text"), [(5, "abcde"), (4, "abc…"), (1, "…")])
def test_text_is_cut_to_a_width(columns: int, text: str) -> None:
    assert truncate("abcde", columns) == text


@pytest.mark.parametrize(
    ("columns", "shown"), [(1, "…"), (2, "…"), (3, "日…"), (4, "日…"), (5, "日本…"), (6, "日本語")]
)
def test_wide_characters_are_cut_as_a_whole(columns: int, shown: str) -> None:
    assert truncate("日本語", columns) == shown


def test_a_long_text_is_looked_at_only_once_or_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def counted(text: str) -> int:
        looked.append(len(text))
        return display_width(text)

    monkeypatch.setattr("farhand_client.ui.text.display_width", counted)
    assert truncate("日" * 1000, 11) == "日" * 5 + "…"
    assert sum(looked) < 2100


@pytest.mark.parametrize(("text", "columns"), [("plain", 5), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_wide_characters_take_two_columns_and_combining_ones_none(text: str, columns: int) -> None:
    assert display_width(text) == columns


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (12 << 20, "12 MiB"),
        (3.5 * (1 << 30), "3.5 GiB"),
    ],
)
def test_sizes_in_sentences_have_units(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("text", "columns", "end"),
    [("/srv/a", 6, "/srv/a"), ("/srv/a", 4, "…v/a"), ("/srv/a", 1, "…"), ("漢字漢", 4, "…漢"), ("漢字", 4, "漢字")],
)
def test_the_end_of_a_path_is_kept(text: str, columns: int, end: str) -> None:
    assert truncate_start(text, columns) == end
