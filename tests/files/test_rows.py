"""Files in a table: what was put in comes out, as entries and as events."""

from __future__ import annotations

import pytest
from hypothesis import given

from farhand_files import wire
from farhand_files.events import Finished, Found, Skipped
from farhand_files.rows import FileRows, RowEvents, each_event
from tests.support.transfer_frames import of_table

ROWS = FileRows(7, b"d/e", [b"a", b"b", b"c"], [0o644, 0o600, 0o4755], [1, 2, 3], [10, -20, 30])


@given(of_table())
def test_a_table_is_the_same_after_it_was_read(table: wire.FileTable) -> None:
    assert FileRows.of(table).table() == table


def test_a_row_is_the_entry_of_a_regular_file() -> None:
    assert ROWS.entry(2) == wire.Entry(9, wire.REGULAR, 0o4755, 0, 0, 30, 3, b"d/e/c")
    at_top = FileRows(0, b"", [b"a"], [0o644], [1], [10])
    assert at_top.entry(0).path == b"a"


@pytest.mark.parametrize(
    ("directory", "name", "plain"),
    [
        (b"", b"a", True),
        (b"d", b"x" * 255, True),
        (b"d", b"\xff a\n", True),
        (b"d", b"x" * 256, False),
        (b"d", b".", False),
        (b"d", b"..", False),
        (b"d", b".hidden", False),
        (b"d", b"", False),
        (b"d", b"a/b", False),
        (b"d", b"/", False),
        (b"d" * 4090, b"12345", True),
        (b"d" * 4090, b"123456", False),
    ],
)
def test_only_names_that_need_no_further_check_are_plain(directory: bytes, name: bytes, plain: bool) -> None:
    rows = FileRows(0, directory, [b"a", name, b"b"], [0] * 3, [0] * 3, [0] * 3)
    assert FileRows.of(rows.table()).plain is plain


def test_events_about_several_files_are_one_for_each() -> None:
    found = RowEvents(Found, ROWS, 0, 2)
    assert len(found) == 2
    assert list(each_event(found)) == [Found(b"d/e/a", wire.REGULAR, 1), Found(b"d/e/b", wire.REGULAR, 2)]
    assert list(each_event(RowEvents(Skipped, ROWS, 2, 3))) == [Skipped(b"d/e/c", 3)]
    other = Finished(b"a", 1, 1, 0, b"")
    assert list(each_event(other)) == [other]
