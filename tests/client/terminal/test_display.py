"""Drawing, moving and erasing on a display, at its edges and in its scrolling region."""

from __future__ import annotations

import pytest

from farhand_client.terminal.display import MAX_SCREEN_SIZE, Display
from farhand_client.terminal.grid import apply_sgr
from farhand_client.terminal.settings import AUTOWRAP_MODE, ORIGIN_MODE, TerminalSettings


def display(columns: int = 5, rows: int = 3, *, text: str = "", modes: dict[int, bool] | None = None) -> Display:
    settings = TerminalSettings()
    settings.modes = modes or {}
    made = Display(columns, rows, settings)
    made.draw(text)
    return made


def rows_of(shown: Display) -> list[str]:
    return ["".join(row.at(x)[0] for x in range(shown.columns)).rstrip() for row in shown.grid.rows]


@pytest.mark.parametrize(("size", "drawn"), [((0, -1), (1, 1)), ((80, 24), (80, 24)), ((65535, 9999), (1024, 1024))])
def test_the_size_that_is_drawn_is_bounded(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    shown = display(*size)
    assert (shown.columns, shown.rows) == drawn
    shown.resize(*size)
    assert (shown.columns, shown.rows) == drawn
    assert MAX_SCREEN_SIZE == 1024


@pytest.mark.parametrize(
    ("text", "rows", "cursor", "wrapping"),
    [
        ("abc", ["abc", "", ""], (3, 0), False),
        ("abcde", ["abcde", "", ""], (4, 0), True),
        ("abcdef", ["abcde", "f", ""], (1, 1), False),
        ("abcd漢", ["abcd", "漢", ""], (2, 1), False),
        ("abc漢", ["abc漢", "", ""], (4, 0), True),
        ("abcdefghijklmnopq", ["fghij", "klmno", "pq"], (2, 2), False),
        ("a\u0301b", ["a\u0301b", "", ""], (2, 0), False),
        ("\u0301", ["", "", ""], (0, 0), False),
        ("abcde\u0301", ["abcde\u0301", "", ""], (4, 0), True),
        ("a\x9bb", ["ab", "", ""], (2, 0), False),
    ],
)
def test_text_wraps_at_the_last_column(text: str, rows: list[str], cursor: tuple[int, int], wrapping: bool) -> None:
    shown = display(text=text)
    assert (rows_of(shown), (shown.x, shown.y), shown.wrapping) == (rows, cursor, wrapping)


@pytest.mark.parametrize(("text", "row"), [("abcdefg", "abcdg"), ("abcd漢", "abc漢"), ("abcde漢", "abc漢")])
def test_without_autowrap_the_last_column_is_overwritten(text: str, row: str) -> None:
    assert rows_of(display(text=text, modes={AUTOWRAP_MODE: False})) == [row, "", ""]


def test_a_wide_character_needs_two_columns() -> None:
    assert rows_of(display(1, 1, text="漢x")) == ["x"]


def test_insert_mode_shifts_existing_characters() -> None:
    shown = display(text="abcd")
    shown.settings.insert = True
    shown.move_to_column(1)
    shown.draw("XY")
    assert rows_of(shown)[0] == "aXYbc"


def test_the_special_graphics_are_drawn() -> None:
    shown = display()
    shown.settings.charsets = ("0", "B")
    shown.draw("qx")
    shown.settings.shifted = True
    shown.draw("q")
    assert rows_of(shown)[0] == "─│q"


def test_the_cursor_stays_on_the_screen() -> None:
    shown = display()
    shown.move_to(99, 99)
    assert (shown.x, shown.y) == (4, 2)
    shown.move_to_column(-1)
    shown.move_vertically(-99)
    assert (shown.x, shown.y) == (0, 0)


def test_the_cursor_does_not_leave_the_scrolling_region_it_is_in() -> None:
    shown = display(5, 6)
    shown.settings.margins = (2, 4)
    for start, move, row in ((2, -9, 1), (2, 9, 3), (0, 9, 3), (5, -9, 1), (0, -9, 0), (5, 9, 5)):
        shown.move_to(start, 0)
        shown.move_vertically(move)
        assert shown.y == row


@pytest.mark.parametrize(
    ("margins", "region"), [(None, (0, 5)), ((2, 4), (1, 3)), ((2, 0), (1, 5)), ((4, 4), (0, 5)), ((2, 99), (1, 5))]
)
def test_an_invalid_region_is_the_whole_screen(margins: tuple[int, int] | None, region: tuple[int, int]) -> None:
    shown = display(5, 6)
    shown.settings.margins = margins
    assert shown.region == region


def test_only_the_region_scrolls() -> None:
    shown = display(1, 4, text="abcd")
    shown.settings.margins = (2, 3)
    shown.move_to(2, 0)
    shown.index()
    assert rows_of(shown) == ["a", "c", "", "d"]
    shown.move_to(1, 0)
    shown.reverse_index()
    assert rows_of(shown) == ["a", "", "c", "d"]
    shown.move_to(3, 0)
    shown.index()
    shown.move_to(0, 0)
    shown.reverse_index()
    assert rows_of(shown) == ["a", "", "c", "d"]
    shown.move_to(3, 0)
    shown.reverse_index()
    shown.scroll(1)
    shown.insert_rows(1)
    assert rows_of(shown) == ["a", "c", "", "d"]
    shown.move_to(0, 0)
    shown.insert_rows(1)
    assert rows_of(shown) == ["a", "c", "", "d"]


def test_tab_stops_are_every_eight_columns_and_end_at_the_edges() -> None:
    shown = display(20, 1)
    columns = []
    for stops in (1, 1, 1, -1, -9):
        shown.tab(stops)
        columns.append(shown.x)
    assert columns == [8, 16, 19, 16, 0]


@pytest.mark.parametrize(
    ("how", "line", "screen"),
    [
        (0, ["abcde", "fg", "klmno"], ["abcde", "fg", ""]),
        (1, ["abcde", "   ij", "klmno"], ["", "   ij", "klmno"]),
        (2, ["abcde", "", "klmno"], ["", "", ""]),
        (9, ["abcde", "", "klmno"], ["abcde", "fghij", "klmno"]),
    ],
)
def test_a_row_and_the_screen_are_erased_around_the_cursor(how: int, line: list[str], screen: list[str]) -> None:
    for erase, rows in ((Display.erase_line, line), (Display.erase_display, screen)):
        if how == 9 and erase is Display.erase_line:
            continue  # the emulator does not pass such numbers on
        shown = display(text="abcdefghijklmno")
        shown.move_to(1, 2)
        erase(shown, how)
        assert rows_of(shown) == rows


def test_erasing_leaves_the_background() -> None:
    shown = display(text="abc")
    shown.settings.attributes = apply_sgr(shown.settings.attributes, "1;44")
    shown.move_to(0, 1)
    shown.erase_characters(9)
    assert shown.grid.rows[0].at(2) == (" ", apply_sgr(shown.grid.rows[0].at(0)[1], "44"))


def test_the_cursor_is_saved_with_its_attributes() -> None:
    shown = display(text="ab", modes={ORIGIN_MODE: True})
    shown.settings.attributes = apply_sgr(shown.settings.attributes, "31")
    shown.save_cursor()
    saved = shown.saved[0]
    shown.move_to(2, 4)
    shown.settings.modes = {}
    shown.settings.shifted = True
    shown.restore_cursor()
    shown.save_cursor()
    assert shown.saved[0] == saved


def test_without_a_saved_cursor_the_default_one_is_restored() -> None:
    shown = display(text="ab", modes={ORIGIN_MODE: True})
    shown.restore_cursor()
    assert (shown.x, shown.y, shown.settings.is_set(ORIGIN_MODE)) == (0, 0, False)


def test_a_resize_keeps_characters_and_the_rows_of_both_cursors() -> None:
    shown = display(5, 3, text="abcdefghijklm")
    shown.save_cursor()
    shown.settings.alternate = 1049
    shown.move_to(0, 4)
    shown.draw("x")
    shown.resize(3, 2)
    assert (rows_of(shown), shown.x, shown.y) == (["", ""], 2, 0)
    shown.settings.alternate = 0
    assert rows_of(shown) == ["fgh", "klm"]
    shown.resize(5, 2)
    assert rows_of(shown) == ["fghij", "klm"]
