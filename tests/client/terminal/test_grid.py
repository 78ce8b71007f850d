"""Cells, their attributes, and the rows of a screen."""

from __future__ import annotations

import pytest

from farhand_client.terminal.grid import (
    BLANK_CELL,
    DEFAULT_ATTRIBUTES,
    Grid,
    Row,
    apply_sgr,
    character_width,
    erased_attributes,
    sgr_sequence,
)


@pytest.mark.parametrize(
    ("parameters", "sequence"),
    [
        (["1", "31"], "\x1b[0;1;31m"),
        (["1;3;4;5;7;8;9;53"], "\x1b[0;1;3;4;5;7;8;9;53m"),
        (["1;2", "22"], "\x1b[m"),
        (["31", "39"], "\x1b[m"),
        (["31", ""], "\x1b[m"),
        (["31", "0;44"], "\x1b[0;44m"),
        (["01;032"], "\x1b[0;1;32m"),
        (["38;5;123"], "\x1b[0;38;5;123m"),
        (["38;2;1;2;3;1"], "\x1b[0;1;38;2;1;2;3m"),
        (["48;2;1;2"], "\x1b[m"),
        (["38"], "\x1b[m"),
        (["38;9;1"], "\x1b[0;1;9m"),
        (["38:2::1:2:3"], "\x1b[0;38:2::1:2:3m"),
        (["38:2:" + "1" * 40], "\x1b[m"),
        (["4:3"], "\x1b[0;4:3m"),
        (["4:3", "4:0"], "\x1b[m"),
        (["58;5;9", "59"], "\x1b[m"),
        (["99", "1000"], "\x1b[m"),
    ],
)
def test_select_graphic_rendition_changes_attributes(parameters: list[str], sequence: str) -> None:
    attributes = DEFAULT_ATTRIBUTES
    for each in parameters:
        attributes = apply_sgr(attributes, each)
    assert sgr_sequence(attributes) == sequence


def test_an_erased_cell_keeps_only_the_background() -> None:
    assert erased_attributes(apply_sgr(DEFAULT_ATTRIBUTES, "1;31;44")) == apply_sgr(DEFAULT_ATTRIBUTES, "44")
    assert erased_attributes(apply_sgr(DEFAULT_ATTRIBUTES, "1;31")) == DEFAULT_ATTRIBUTES


@pytest.mark.parametrize(
    ("char", "width"),
    [("a", 1), ("é", 1), ("漢", 2), ("😀", 2), ("\u0301", 0), ("\u200d", 0), ("\xad", 1), ("\x9b", -1), ("\u2028", -1)],
)
def test_the_width_of_a_character_is_known(char: str, width: int) -> None:
    assert character_width(char) == width


def row_of(text: str) -> Row:
    """A row with these characters; a space after a wide one is its right half."""
    row = Row()
    row.write(
        0,
        [
            ("" if at and character_width(text[at - 1]) == 2 else char, DEFAULT_ATTRIBUTES)
            for at, char in enumerate(text)
        ],
    )
    return row


def text_of(row: Row, columns: int = 8) -> str:
    return "".join(row.at(column)[0] or "." for column in range(columns))


def test_a_row_is_blank_after_its_last_cell() -> None:
    assert text_of(row_of("abc")) == "abc     "
    assert Row(("x", DEFAULT_ATTRIBUTES)).at(5) == ("x", DEFAULT_ATTRIBUTES)


@pytest.mark.parametrize(("column", "text"), [(0, "XX漢.    "), (1, " XX     "), (3, "漢. XX   ")])
def test_a_wide_character_that_loses_one_half_is_blanked(column: int, text: str) -> None:
    row = row_of("漢 漢 ")
    row.write(column, [("X", DEFAULT_ATTRIBUTES)] * 2)
    assert text_of(row) == text


def test_cells_are_inserted_and_deleted_within_the_width() -> None:
    row = row_of("abcdef")
    row.insert(1, 2, 6, BLANK_CELL)
    assert text_of(row) == "a  bcd  "
    row.delete(0, 3, 6, BLANK_CELL)
    assert text_of(row) == "bcd     "
    row.erase(1, 2, BLANK_CELL)
    assert text_of(row) == "b d     "


def test_combining_characters_join_the_cell_up_to_a_limit() -> None:
    row = row_of("a漢 ")
    row.combine(0, "\u0301")
    row.combine(2, "\u0302")
    row.combine(5, "\u0303")
    assert [row.at(0)[0], row.at(1)[0]] == ["a\u0301", "漢\u0302"]
    for _ in range(100):
        row.combine(0, "\u0301")
    assert len(row.at(0)[0]) == 16


def grid_of(*texts: str) -> Grid:
    grid = Grid(len(texts))
    grid.rows = [row_of(text) for text in texts]
    return grid


def rows_of(grid: Grid) -> list[str]:
    return [text_of(row).rstrip() for row in grid.rows]


@pytest.mark.parametrize(
    ("count", "rows"),
    [
        (1, ["a", "c", "d", "", "e"]),
        (-1, ["a", "", "b", "c", "e"]),
        (3, ["a", "", "", "", "e"]),
        (-9, ["a", "", "", "", "e"]),
    ],
)
def test_a_region_scrolls(count: int, rows: list[str]) -> None:
    grid = grid_of("a", "b", "c", "d", "e")
    grid.scroll(1, 3, count, BLANK_CELL)
    assert rows_of(grid) == rows


def test_the_row_of_the_cursor_survives_a_resize() -> None:
    grid = grid_of("a", "b", "c")
    assert grid.resize(2, cursor=2) == 1
    assert rows_of(grid) == ["b", "c"]
    assert grid.resize(3, cursor=1) == 0
    assert rows_of(grid) == ["b", "c", ""]
    assert grid.resize(1, cursor=0) == 0
    assert rows_of(grid) == ["b"]
