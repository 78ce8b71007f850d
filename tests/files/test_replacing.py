"""A name that is a directory at the destination, and something else at the source."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from farhand_files import events, replacing
from farhand_files.opening import Area
from farhand_files.replacing import MovedDirectories
from tests.support.joined_transfer import OPTIONS, JoinedTransfer, snapshot
from tests.support.transfer_trees import RANDOM, settle, write

DELETE = OPTIONS._replace(delete=True)


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """What is a file, two links and a large file at the source are directories at the destination."""
    source, target = tmp_path / "source", tmp_path / "target"
    write(source / "file", b"content")
    write(source / "large", RANDOM.randbytes(3 << 20))
    (source / "symlink").symlink_to("file")
    os.link(source / "file", source / "second name")
    settle(source)
    for name in ("file", "large", "symlink", "second name"):
        write(target / name / "deep" / "inner", b"old")
    return source, target


def joined(trees: tuple[Path, Path], options: object = DELETE) -> JoinedTransfer:
    source, target = trees
    assert isinstance(options, type(DELETE))
    return JoinedTransfer([os.fsencode(source) + b"/"], os.fsencode(target), options)


@pytest.mark.parametrize("exchanging", [True, False])
def test_with_delete_a_directory_is_replaced_and_deleted(
    trees: tuple[Path, Path], exchanging: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanging:
        monkeypatch.setattr(replacing, "_libc", None)
    done = joined(trees)
    assert done.finish().failed == 0
    assert snapshot(os.fsencode(trees[1])) == snapshot(os.fsencode(trees[0]))
    removed = {each.path for each in done.sent if isinstance(each, events.Removed)}
    names = (b"file", b"large", b"symlink", b"second name")
    assert removed == {name + below for name in names for below in (b"", b"/deep", b"/deep/inner")}


def test_a_dry_run_says_what_would_be_deleted_in_it(trees: tuple[Path, Path]) -> None:
    before = snapshot(os.fsencode(trees[1]))
    done = joined(trees, DELETE._replace(dry_run=True))
    assert done.finish().failed == 0
    assert {each.path for each in done.sent if isinstance(each, events.Removed)} >= {b"file", b"file/deep/inner"}
    assert snapshot(os.fsencode(trees[1])) == before


def test_without_delete_it_stays(trees: tuple[Path, Path]) -> None:
    before = snapshot(os.fsencode(trees[1]))
    assert joined(trees, OPTIONS).finish().failed == 4
    assert snapshot(os.fsencode(trees[1])) == before


@pytest.mark.parametrize("excluded", ["/file/deep/inner", "file/"])
def test_it_stays_where_something_in_it_is_excluded(trees: tuple[Path, Path], excluded: str) -> None:
    target = trees[1]
    done = joined(trees, DELETE._replace(excludes=(excluded,)))
    assert done.finish().failed >= 1
    assert (target / "file" / "deep" / "inner").read_bytes() == b"old"
    assert b"file" in {each.path for each in done.sent if isinstance(each, events.Trouble)}


def test_where_something_has_failed_it_is_kept_under_another_name_and_deleted_next_time(
    trees: tuple[Path, Path],
) -> None:
    source, target = trees
    os.mkfifo(target / "bad")
    write(source / "bad", b"x")
    done = joined(trees)
    assert done.finish().failed == 1
    assert (target / "file").read_bytes() == b"content"
    kept = sorted(each for each in os.listdir(target) if each.startswith(".farhand-replaced-"))
    assert len(kept) == 4
    assert (target / kept[0] / "deep" / "inner").read_bytes() == b"old"
    said = [each.sentence for each in done.sent if isinstance(each, events.Trouble) and not each.errno]
    assert {f"the directory that was here is now {each}, and was not deleted" for each in kept} <= set(said)
    os.unlink(target / "bad")
    assert joined(trees).finish().failed == 0
    assert snapshot(os.fsencode(target)) == snapshot(os.fsencode(source))


def test_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "MAX_MOVED", 0)
    write(tmp_path / "new", b"new")
    (tmp_path / "there").mkdir()
    with (
        Area(None, b"/").open_directory(os.fsencode(tmp_path)) as top,
        pytest.raises(OSError, match="more than 0") as e,
    ):
        MovedDirectories().replace(top, b"new", (b"there",))
    assert e.value.errno == errno.EMLINK
    assert sorted(os.listdir(tmp_path)) == ["new", "there"]


def test_a_place_that_cannot_be_replaced_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "_libc", None)
    (tmp_path / "there").mkdir()
    moved = MovedDirectories()
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as top, pytest.raises(FileNotFoundError):
        moved.replace(top, b"gone", (b"there",))
    assert os.listdir(tmp_path) == ["there"]
    assert not moved.all()
