"""Temporary files beside their targets, and those left by transfers that were cut off."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_files.names import is_temporary
from farhand_files.opening import Area, Directory
from farhand_files.temporary import MAX_AGE, Leftovers, Temporary, create, temporary_name
from farhand_files.wire import CHUNK
from tests.support.processes import own_descriptors


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as opened:
        yield opened


def leave(directory: Directory, target: bytes, content: bytes) -> Path:
    """Leave a large temporary file, as a process that was killed does."""
    made = create(directory, target)
    os.truncate(made.fd, CHUNK)
    os.pwrite(made.fd, content, CHUNK)
    made.close()
    return Path(os.fsdecode(directory.path), os.fsdecode(made.name))


def later_by(seconds: float) -> Callable[[], float]:
    """Return a clock that stands still, so many seconds from now."""
    moment = time.time() + seconds
    return lambda: moment


def taken(leftovers: Leftovers, target: bytes) -> bytes | None:
    found = leftovers.take(target)
    if found is None:
        return None
    content = os.pread(found.fd, 100, CHUNK)
    found.close()
    return content


def test_a_temporary_file_replaces_its_target(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    made = create(directory, b"target")
    os.write(made.fd, b"new")
    assert is_temporary(made.name)
    assert (tmp_path / os.fsdecode(made.name)).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "target").read_text() == "old"
    made.replace_target()
    made.close()
    made.close()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("target", "new")]


def test_a_temporary_file_is_removed_once(directory: Directory, tmp_path: Path) -> None:
    made = create(directory, b"\xff" * 255)
    made.remove()
    made.remove()
    assert not list(tmp_path.iterdir())


def test_another_attempt_may_have_been_quicker(directory: Directory, tmp_path: Path) -> None:
    made = create(directory, b"target")
    assert not made.is_superseded(3, 7)
    (tmp_path / "target").write_bytes(b"new")
    os.utime(tmp_path / "target", ns=(7, 7))
    assert made.is_superseded(3, 7)
    assert not made.is_superseded(3, 8)
    assert not made.is_superseded(4, 7)
    made.remove()


def test_a_name_that_is_in_use_is_not_used_again(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = iter([b"1111", b"1111", b"2222", *[b"1111"] * 8])
    monkeypatch.setattr(os, "urandom", lambda _: next(random))
    one, two = (create(directory, b"target") for _ in range(2))
    assert one.name != two.name
    with pytest.raises(FileExistsError, match="no free name"):
        create(directory, b"target")
    one.close()
    two.close()


def test_what_an_attempt_has_left_is_found_by_the_next_one(directory: Directory, tmp_path: Path) -> None:
    leave(directory, b"target", b"some")
    leave(directory, b"other", b"others")
    leftovers = Leftovers(directory)
    assert taken(leftovers, b"target") == b"some"
    assert taken(leftovers, b"target") is None
    assert taken(leftovers, b"none") is None
    assert taken(Leftovers(directory), b"other") == b"others"


def test_the_largest_of_several_is_used_and_the_others_are_removed(directory: Directory, tmp_path: Path) -> None:
    for content in (b"12", b"1234", b"123"):
        leave(directory, b"target", content)
    assert taken(Leftovers(directory), b"target") == b"1234"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_another_receiver_writes_is_left_alone(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = create(directory, b"target")
    assert Leftovers(directory).take(b"target") is None
    os.truncate(writing.fd, CHUNK)
    with monkeypatch.context() as later:
        later.setattr(time, "time", later_by(2 * MAX_AGE))
        Leftovers(directory).sweep()
    os.stat(writing.name, dir_fd=directory.fd)
    writing.close()
    assert taken(Leftovers(directory), b"target") == b""


def test_what_another_receiver_has_written_so_far_is_copied(directory: Directory, tmp_path: Path) -> None:
    small, large = (create(directory, b"target") for _ in range(2))
    os.write(small.fd, b"12")
    os.write(large.fd, b"1234")
    copy = Leftovers(directory).take(b"target")
    assert copy is not None
    os.write(large.fd, b"56")
    assert os.pread(copy.fd, 100, 0) == b"1234"
    assert copy.name not in (small.name, large.name)
    again = Leftovers(directory).take(b"target")
    assert again is not None
    assert os.pread(again.fd, 100, 0) == b"123456"
    for each in (copy, again, small, large):
        each.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_is_used_rather_than_copied(directory: Directory, tmp_path: Path) -> None:
    writing = create(directory, b"target")
    os.write(writing.fd, b"1234")
    leave(directory, b"target", b"1")
    assert taken(Leftovers(directory), b"target") == b"1"
    writing.close()


def test_what_cannot_be_copied_is_not_used(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = create(directory, b"target")
    os.write(writing.fd, b"1234")
    os.link(writing.name, b"other name", src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
    assert Leftovers(directory).take(b"target") is None
    os.unlink(b"other name", dir_fd=directory.fd)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    assert Leftovers(directory).take(b"target") is None
    assert len(list(tmp_path.iterdir())) == 1, "the copy that was begun is gone"
    writing.close()


def test_a_small_one_that_waits_to_be_renamed_is_not_used_however_old_its_source_is(directory: Directory) -> None:
    waiting = create(directory, b"target")
    os.write(waiting.fd, b"small")
    os.utime(waiting.fd, (0, 0))
    waiting.close()
    leftovers = Leftovers(directory)
    assert leftovers.take(b"target") is None
    leftovers.sweep()
    Leftovers(directory).sweep()
    waiting.replace_target()


def test_what_was_left_a_day_ago_is_removed(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    left = leave(directory, b"left", b"")
    used = leave(directory, b"used", b"content")
    for age, there in ((MAX_AGE - 3600, True), (MAX_AGE + 60, False)):
        monkeypatch.setattr(time, "time", later_by(age))
        leftovers = Leftovers(directory)
        assert taken(leftovers, b"used") == b"content"
        leftovers.sweep()
        assert left.exists() is there
        assert used.exists()
        monkeypatch.undo()


@pytest.mark.parametrize("what", ["symbolic link", "hard link", "file that cannot be locked"])
def test_what_cannot_be_used_again_is_removed_after_a_day_too(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    (tmp_path / "precious").write_text("precious")
    left = tmp_path / os.fsdecode(temporary_name(b"target"))
    if what == "symbolic link":
        left.symlink_to("precious")
    elif what == "hard link":
        os.link(tmp_path / "precious", left)
    else:
        left.touch()

        def flock(fd: int, how: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", flock)
    Leftovers(directory).sweep()
    assert os.path.lexists(left)
    monkeypatch.setattr(time, "time", later_by(MAX_AGE + 60))
    Leftovers(directory).sweep()
    assert not os.path.lexists(left)
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_was_changed_last_before_a_time_is_removed_and_counted(directory: Directory) -> None:
    left = [leave(directory, name, b"") for name in (b"one", b"two")]
    changed = min(each.stat().st_ctime for each in left)
    assert Leftovers(directory).sweep(changed) == 0
    assert all(each.exists() for each in left)
    assert Leftovers(directory).sweep(changed + 3600) == 2
    assert not any(each.exists() for each in left)


def test_what_cannot_be_looked_at_now_is_not_removed(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    left = leave(directory, b"target", b"")
    leftovers = Leftovers(directory)

    def exhausted(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as later:
        later.setattr(time, "time", later_by(MAX_AGE + 60))
        later.setattr(os, "open", exhausted)
        leftovers.sweep()
    assert left.exists()


def test_no_other_file_is_used(directory: Directory, tmp_path: Path) -> None:
    """Anybody may put files in a directory like /tmp."""
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", tmp_path / os.fsdecode(temporary_name(b"link")))
    (tmp_path / os.fsdecode(temporary_name(b"symlink"))).symlink_to("precious")
    (tmp_path / os.fsdecode(temporary_name(b"directory"))).mkdir()
    os.mkfifo(tmp_path / os.fsdecode(temporary_name(b"fifo")))
    leftovers = Leftovers(directory)
    assert [leftovers.take(name) for name in (b"link", b"symlink", b"directory", b"fifo")] == [None] * 4
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_was_renamed_meanwhile_is_not_used(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = leave(directory, b"target", b"done")
    leftovers = Leftovers(directory)
    lstat = os.lstat

    def rename_first(name: bytes, *, dir_fd: int) -> os.stat_result:
        path.rename(tmp_path / "target")
        path.write_bytes(b"another")
        return lstat(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "lstat", rename_first)
    assert leftovers.take(b"target") is None


def test_a_directory_that_cannot_be_read_has_no_leftovers(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Directory) -> int:
        raise PermissionError

    leave(directory, b"target", b"")
    monkeypatch.setattr(Directory, "readable", refuse)
    assert Leftovers(directory).take(b"target") is None


def test_nothing_stays_open(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(directory, b"target", b"")
    before = len(own_descriptors())
    monkeypatch.setattr(time, "time", later_by(2 * MAX_AGE))
    Leftovers(directory).sweep()
    assert not [name for name in os.listdir(directory.path) if is_temporary(name)]
    made: Temporary = create(directory, b"target")
    made.remove()
    assert len(own_descriptors()) == before
