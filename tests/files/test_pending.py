"""Files of a table without an answer: each gets one, in whatever order and amount."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_files import wire
from farhand_files.events import Skipped
from farhand_files.opening import Area
from farhand_files.options import TransferOptions
from farhand_files.pending import PendingRows
from farhand_files.rows import FileRows
from farhand_files.steps import Readable, ReadableRows
from farhand_files.walk import Walk
from tests.files.test_answers import DIGEST, OPTIONS, WANT, Received


def in_table(top: Path, first: int = 10, count: int = 5) -> ReadableRows:
    """Return files in a table, of a directory that is there."""
    (top / "f").write_bytes(b"")
    walk = Walk([bytes(top)], TransferOptions("put", (b"x",)), Area(None, b"/"))
    [place] = [step.place for batch in walk.batches() for step in batch if isinstance(step, Readable)]
    names = [b"%d" % number for number in range(count)]
    return ReadableRows(FileRows(first, b"d", names, [0o644] * count, [1] * count, [0] * count), place)


def answered(top: Path, *frames: wire.Frame, options: TransferOptions = OPTIONS) -> Received:
    received = Received(options)
    received.answers.expect_rows(in_table(top))
    received.answers.expect_rows(in_table(top, 20))
    received.after(*frames)
    return received


def test_files_of_tables_are_skipped_across_their_borders(tmp_path: Path) -> None:
    received = Received()
    for first in (4, 9):
        received.answers.expect_rows(in_table(tmp_path, first))
    assert received.answers.unanswered == 13
    received.after(wire.Skip(0, 6), wire.Skip(7, 7))
    with pytest.raises(Exception, match="entry 3"):
        received.answers.check()  # it is a directory


def test_some_are_skipped_and_others_wanted(tmp_path: Path) -> None:
    received = answered(
        tmp_path, wire.Skip(10, 2), WANT._replace(number=12), wire.Skip(13, 2), wire.Failed(22, 5, b"no")
    )
    answers = received.answers
    assert answers.unanswered == 3 + 1 + 4
    assert answers.jobs[0].entry.path == b"d/2"
    assert answers.totals.skipped == 4
    assert [event.path for event in received.events if isinstance(event, Skipped)] == [b"d/0", b"d/1", b"d/3", b"d/4"]
    assert (answers.totals.failed, received.events[-1].path) == (1, b"d/2")  # type: ignore[union-attr]  # a Trouble


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([wire.Skip(10, 2), wire.Skip(11, 2)], "entry 11, which is no file without an answer"),
        ([WANT._replace(number=11), wire.Skip(10, 3)], "entry 11, which was wanted"),
        ([wire.Skip(10, 5), wire.Skip(10)], "entry 10, which is no file without an answer"),
        ([wire.Skip(10, 6)], "entry 15, which is no file without an answer"),
        ([WANT._replace(number=11), WANT._replace(number=11)], "wanted before"),
        ([wire.FileDone(10, DIGEST)], "not sent completely"),
        ([wire.Failed(25, 5, b"")], "which was not sent"),
    ],
)
def test_each_file_of_a_table_is_answered_once(tmp_path: Path, frames: list[wire.Frame], sentence: str) -> None:
    with pytest.raises(wire.WireError, match=sentence):
        answered(tmp_path, *frames).answers.check()


def test_what_the_options_leave_out_is_not_up_to_date(tmp_path: Path) -> None:
    answers = answered(tmp_path, wire.Skip(10, 5), options=OPTIONS._replace(max_size=0)).answers
    assert (answers.totals.skipped, answers.unanswered) == (0, 3 + 5)


def test_rows_know_what_is_left_of_them(tmp_path: Path) -> None:
    rows = PendingRows(in_table(tmp_path))
    assert rows.end_of_free(10, 13) == 13
    assert rows.end_of_free(10, 100) == 15
    rows.take(11, 13)
    assert rows.left == 3
    assert [rows.end_of_free(number, 15) for number in range(10, 15)] == [11, 11, 12, 15, 15]
    rows.take(13, 15)
    rows.take(10, 11)
    assert not rows.left
