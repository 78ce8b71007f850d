"""Files that come in a table are judged, placed and answered as those that come one by one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from farhand_files import wire
from farhand_files.events import Found, Skipped
from farhand_files.rows import FileRows
from tests.support.transferring import FakeSender, put_options, transfer

LONG_AGO = 10**18


def table(number: int, directory: bytes, *names: bytes, size: int = 4) -> wire.FileTable:
    count = len(names)
    return FileRows(number, directory, names, [0o644] * count, [size] * count, [LONG_AGO] * count).table()


def present(top: Path, *names: str) -> None:
    for name in names:
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_bytes(b"same")
        (top / name).chmod(0o644)
        os.utime(top / name, ns=(LONG_AGO, LONG_AGO))


def test_files_that_are_up_to_date_are_skipped_together_and_others_wanted(tmp_path: Path) -> None:
    present(tmp_path, "d/a", "d/b", "d/d")
    (tmp_path / "d" / "c").write_bytes(b"other")
    sender = FakeSender(tmp_path)
    sender.entry(b"d", wire.DIRECTORY, mode=0o755)
    sender.send(table(1, b"d", b"a", b"b", b"c", b"d"))
    answers = {sender.answer() for _ in range(3)}
    assert answers == {wire.Skip(1, 2), wire.Want(3, wire.NOTHING, 1), wire.Skip(4, 1)}
    sender.send(wire.Data(3, 0, b"same"))
    sender.end(3, b"same")
    assert isinstance(sender.answer(), wire.FileDone)
    sender.send(wire.Walked(5, 16, 1), wire.Finish())
    assert isinstance(sender.answer(), wire.Summary)
    sender.close()
    assert (tmp_path / "d" / "c").read_bytes() == b"same"
    assert sender.totals is not None
    assert (sender.totals.skipped, sender.totals.files) == (3, 1)
    assert [event.path for event in sender.events if isinstance(event, Skipped)] == [b"d/a", b"d/b", b"d/d"]
    assert [event.path for event in sender.events if isinstance(event, Found)][1:] == [b"d/a", b"d/b", b"d/c", b"d/d"]


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        (b"", b".."),
        (b"", b"."),
        (b"", b""),
        (b"..", b"x"),
        (b"/tmp", b"x"),
        (b"d/../..", b"x"),
        (b"d\0", b"x"),
        (b"d", b"../../x"),
        (b"d", b"/x"),
        (b"d", b"x" * 256),
        (b"d", b".farhand-0123456789abcdef-01234567.part"),
        (b"link", b"x"),
    ],
)
def test_a_path_in_a_table_that_leads_elsewhere_fails_alone(tmp_path: Path, directory: bytes, name: bytes) -> None:
    top = tmp_path / "top"
    present(tmp_path, "top/a")
    present(top, "d/a")
    present(tmp_path, "x")
    (top / "link").symlink_to("..")
    sender = FakeSender(top)
    sender.entry(b"d", wire.DIRECTORY, mode=0o755)
    sender.send(table(1, b"d", b"a"), table(2, directory, name), table(3, b"d", b"a"))
    answers = {type(answer): answer for answer in (sender.answer() for _ in range(3)) if answer != wire.Skip(1, 1)}
    assert answers.pop(wire.Skip) == wire.Skip(3, 1)
    assert [type(answer) for answer in answers.values()] == [wire.Failed]
    sender.close()
    assert sorted(os.listdir(tmp_path)) == ["top", "x"]


@pytest.mark.parametrize("number", [0, 2, 1 << 31])
def test_a_table_that_is_not_due_ends_the_transfer(tmp_path: Path, number: int) -> None:
    sender = FakeSender(tmp_path)
    sender.entry(b"d", wire.DIRECTORY)
    sender.send(table(number, b"d", b"a"))
    sender.close()
    assert isinstance(sender.error, wire.WireError)


def test_tables_cannot_have_more_files_without_an_answer_than_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_UNANSWERED", 5)
    sender = FakeSender(tmp_path)
    sender.entry(b"d", wire.DIRECTORY)
    sender.send(table(1, b"d", *(b"%d" % number for number in range(6))))
    sender.close()
    assert "more than 5 files" in str(sender.error)


def test_a_hard_link_to_a_file_of_a_table_fails_alone(tmp_path: Path) -> None:
    present(tmp_path, "d/a")
    sender = FakeSender(tmp_path)
    sender.entry(b"d", wire.DIRECTORY, mode=0o755)
    sender.send(table(1, b"d", b"a"))
    assert sender.answer() == wire.Skip(1, 1)
    sender.send(wire.Entry(2, wire.HARDLINK, 0o644, 0, 0, LONG_AGO, 0, b"d/b", b"1"))
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert failed.errno == errno.ENOENT
    sender.close()


def test_what_is_in_tables_is_not_deleted_and_what_is_not_is(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    present(tmp_path, *(f"source/{number}" for number in range(20)))
    present(source, *(f"d/{number}" for number in range(600)))
    assert transfer(f"{source}/", copy, into=True).totals.files == 620
    (copy / "surplus").write_bytes(b"")
    (copy / "d" / "surplus").write_bytes(b"")
    done = transfer(f"{source}/", copy, into=True, delete=True)
    assert (done.totals.skipped, done.totals.deleted, done.totals.failed) == (620, 2, 0)
    assert done.sender_totals.skipped == 620
    assert sorted(os.listdir(copy / "d")) == sorted(os.listdir(source / "d"))


def test_options_that_decide_by_more_than_size_and_time_are_for_tables_too(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    present(tmp_path, *(f"source/{number}" for number in range(20)))
    transfer(f"{source}/", copy, into=True)
    (copy / "3").write_bytes(b"evil")
    os.utime(copy / "3", ns=(LONG_AGO, LONG_AGO))
    assert transfer(f"{source}/", copy, into=True).totals.skipped == 20
    done = transfer(f"{source}/", copy, into=True, checksum=True)
    assert (done.totals.files, done.totals.skipped, (copy / "3").read_bytes()) == (1, 19, b"same")
    assert transfer(f"{source}/", tmp_path / "none", into=True, max_size=3).totals.files == 0
    assert put_options("x", max_size=3).max_size == 3
