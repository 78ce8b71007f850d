"""What `delete` removes: what the sources do not have, once all else has worked."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from farhand_files import deleting, events, wire
from farhand_files.deleting import FEW_NAMES, Listings, Names
from farhand_files.names import folded
from farhand_files.opening import Area, OpenDirectories
from farhand_files.options import TransferOptions
from farhand_files.selection import Selection
from farhand_files.spill import Spill
from tests.support.transferring import FakeSender, Transferred, put_options, transfer


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A source, and a destination that has more than it."""
    source, destination = tmp_path / "source", tmp_path / "destination"
    for top in (source, destination / "source"):
        (top / "both").mkdir(parents=True)
        (top / "both/file").write_text("content")
    (destination / "beside").write_text("not below a directory that is transferred")
    (destination / "source/file").write_text("x")
    (destination / "source/both/link").symlink_to(destination)
    (destination / "source/directory/deep").mkdir(parents=True)
    (destination / "source/directory/deep/file").write_text("x")
    (destination / "source/directory/link").symlink_to(tmp_path)
    return source, destination


def below(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


ALL_TAKEN = [
    b"source/both/link", b"source/directory", b"source/directory/deep", b"source/directory/deep/file",
    b"source/directory/link", b"source/file",
]  # fmt: skip


def removed(done: Transferred) -> list[bytes]:
    return sorted(event.path for event in done.events if isinstance(event, events.Removed))


def test_what_the_source_does_not_have_is_deleted(trees: tuple[Path, Path]) -> None:
    source, destination = trees
    before = source.stat().st_mtime_ns
    done = transfer(source, destination, delete=True)
    assert not done.troubles
    assert removed(done) == ALL_TAKEN
    assert done.totals.deleted == len(ALL_TAKEN)
    assert below(destination) == ["beside", "source", "source/both", "source/both/file"]
    assert (destination / "source").stat().st_mtime_ns == before


def test_a_dry_run_only_says_what_would_be_deleted(trees: tuple[Path, Path]) -> None:
    source, destination = trees
    before = below(destination)
    assert removed(transfer(source, destination, delete=True, dry_run=True)) == ALL_TAKEN
    assert below(destination) == before


def test_what_is_excluded_stays(trees: tuple[Path, Path]) -> None:
    source, destination = trees
    (destination / "source/directory/deep/excluded").write_text("x")
    (destination / "source/empty").mkdir()
    done = transfer(source, destination, delete=True, excludes=("excluded",))
    assert not done.troubles
    left = below(destination / "source/directory")
    assert left == ["deep", "deep/excluded"]
    assert not (destination / "source/empty").exists()


@pytest.mark.parametrize("failure", ["unreadable", "failed", "incomplete"])
def test_nothing_is_deleted_unless_all_else_has_worked(tmp_path: Path, failure: str) -> None:
    (tmp_path / "extra").write_text("x")
    sender = FakeSender(tmp_path, options=TransferOptions("put", (b"x",), delete=True))
    directory = sender.entry(b"", wire.DIRECTORY)
    if failure == "unreadable":
        sender.send(wire.Problem(13, b"directory", b"permission denied"))
    elif failure == "failed":
        sender.entry(b"..")
        sender.answer()
    sender.send(wire.Listed(directory, 1))
    answers = list(sender.finish(complete=int(failure != "incomplete")))
    assert any(isinstance(frame, wire.Problem) and b"nothing was deleted" in frame.sentence for frame in answers)
    assert (tmp_path / "extra").exists()


def test_nothing_is_deleted_in_a_directory_that_is_not_listed_completely(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/extra").write_text("x")
    (tmp_path / "extra").write_text("x")
    sender = FakeSender(tmp_path, options=TransferOptions("put", (b"x",), delete=True))
    top, one = sender.entry(b"", wire.DIRECTORY), sender.entry(b"one", wire.DIRECTORY)
    sender.send(wire.Listed(one, 0), wire.Listed(top, 1))
    assert [frame for frame in sender.finish() if isinstance(frame, wire.Deleted)] == [wire.Deleted(b"extra")]
    assert below(tmp_path) == ["one", "one/extra"]


def test_what_cannot_be_deleted_is_named_and_the_rest_goes_on(
    trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = trees
    unlink = os.unlink

    def refuse(path: bytes, *, dir_fd: int | None = None) -> None:
        if path == b"file":
            raise PermissionError(13, os.strerror(13))
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    done = transfer(source, destination, delete=True)
    assert sorted(each.path for each in done.troubles) == [
        os.fsencode(destination / name) for name in ("source/directory/deep/file", "source/file")
    ]
    assert done.totals.failed == 2
    assert below(destination / "source/directory") == ["deep", "deep/file"]


def test_another_file_system_is_not_entered(trees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = trees
    mounted = (destination / "source/directory/deep").stat().st_ino
    fstat = os.fstat

    def other(fd: int) -> os.stat_result:
        status = fstat(fd)
        if status.st_ino != mounted:
            return status
        values = list(status)
        values[2] += 1
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", other)
    done = transfer(source, destination, delete=True)
    assert [each.sentence for each in done.troubles] == ["another file system is mounted here"]
    assert (destination / "source/directory/deep/file").exists()


def test_only_so_many_directories_may_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "MAX_UNLISTED", 2)
    sender = FakeSender(tmp_path, options=TransferOptions("put", (b"x",), delete=True))
    for number in range(3):
        sender.entry(b"%d" % number, wire.DIRECTORY)
    sender.close()
    assert isinstance(sender.error, wire.WireError)


@pytest.mark.parametrize(
    ("there", "sent"), [("readme", "README"), ("README", "readme"), ("Readme", "README"), ("e\u0301", "\u00e9")]
)
@pytest.mark.parametrize("folds", [True, False])
def test_what_is_only_spelled_otherwise_stays_where_names_are_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, sent: str, folds: bool
) -> None:
    (tmp_path / "source" / there).mkdir(parents=True)
    (tmp_path / "source" / "more").touch()
    real = os.lstat

    def folding(name: bytes, *, dir_fd: int) -> os.stat_result:
        if folds and folded(name) == folded(there.encode()):
            name = there.encode()
        return real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "lstat", folding)
    top = Area(None, b"/").open_directory(os.fsencode(tmp_path))
    spill = Spill(top)
    listings = Listings(Selection(put_options(tmp_path)), spill)
    listings.begin(0, (b"source",))
    listings.add((b"source", sent.encode()))
    listings.finish(0, True, OpenDirectories(top))
    other = [] if folds else [b"dsource/" + there.encode()]
    assert sorted(spill.forwards()) == [*other, b"fsource/more"]


@pytest.mark.parametrize("count", [5, FEW_NAMES + 5])
def test_other_spellings_of_names_are_known(count: int) -> None:
    names = Names()
    for number in range(count):
        names.add(f"Name {number} \u00c9".encode())
    assert all(names.has_spelling(f"nAME {number} e\u0301".encode()) for number in range(count))
    assert not names.has_spelling(b"Name")
    assert "name 1 e\u0301".encode() not in names


def test_only_so_much_memory_is_for_directories_that_are_not_listed(tmp_path: Path) -> None:
    listings = Listings(Selection(put_options(tmp_path)), Spill(Area(None, b"/").open_directory(os.fsencode(tmp_path))))

    def begin_all() -> None:
        for number in range(deleting.MAX_UNLISTED):
            listings.begin(number, tuple(b"%d.%d" % (number, each) for each in range(500)))

    tracemalloc.start()
    try:
        with pytest.raises(wire.WireError, match="too many directories with long paths"):
            begin_all()
        assert tracemalloc.get_traced_memory()[0] < 2 * deleting.MAX_UNLISTED_SIZE
    finally:
        tracemalloc.stop()


def test_a_directory_that_comes_twice_ends_the_transfer(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path, options=put_options(tmp_path, delete=True))
    for _ in range(2):
        sender.entry(b"directory", wire.DIRECTORY)
    sender.send(wire.Listed(0, 1), wire.Listed(1, 1))
    sender.close()
    assert isinstance(sender.error, wire.WireError)


@pytest.mark.parametrize("count", [0, 1, FEW_NAMES, FEW_NAMES + 1, 4 * FEW_NAMES])
def test_names_are_known_however_many_there_are(count: int) -> None:
    names = Names()
    for number in range(count):
        names.add(b"%d" % number)
        assert number % 500 or b"%d" % number in names
    assert all(b"%d" % number in names for number in range(count))
    assert not any(b"%d" % number in names for number in range(count, 5 * FEW_NAMES))
