"""Content arrives frame by frame, and only what is whole and verified is put in place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_files import contents, durability, wire
from farhand_files.contents import Sink
from farhand_files.names import is_temporary
from farhand_files.stream import StreamEnded
from farhand_files.temporary import temporary_name
from tests.support.transferring import FakeSender, put_options

CHUNK = wire.CHUNK


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[FakeSender]:
    made = FakeSender(tmp_path)
    yield made
    made.close()


def wanted(sender: FakeSender, path: bytes = b"file", size: int = 10) -> int:
    number = sender.entry(path, size=size)
    assert sender.answer() == wire.Want(number, wire.NOTHING, 1)
    return number


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_files_of_all_sizes_arrive(sender: FakeSender, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    number = wanted(sender, size=size)
    for offset in range(0, size, CHUNK):
        sender.send(wire.Data(number, offset, content[offset : offset + CHUNK]))
    sender.end(number, content, mode=0o4751, mtime=123)
    assert isinstance(sender.answer(), wire.FileDone)
    assert (tmp_path / "file").read_bytes() == content
    status = (tmp_path / "file").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o751, 123)
    assert names(tmp_path) == ["file"]


def test_nothing_is_seen_before_all_has_arrived(sender: FakeSender, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    number = sender.entry(b"file", size=10)
    sender.answer()
    other = wanted(sender, b"other")
    sender.send(wire.Data(number, 0, b"12345"))
    sender.send(wire.FileEnd(other, 10, 0, 0o644, bytes(32)))
    assert isinstance(sender.answer(), wire.Failed)  # so all before it was taken
    assert (tmp_path / "file").read_text() == "old"
    sender.send(wire.Data(number, 5, b"67890"))
    sender.end(number, b"1234567890")
    assert isinstance(sender.answer(), wire.FileDone)
    assert (tmp_path / "file").read_text() == "1234567890"


@pytest.mark.parametrize(
    "end",
    [
        wire.FileEnd(0, 4, 0, 0o644, bytes(32)),
        wire.FileEnd(0, 5, 0, 0o644, bytes(32)),
        wire.FileEnd(0, 4, 0, 0o644, bytes(32), bytes(32)),
    ],
)
def test_what_is_not_what_was_sent_replaces_nothing(sender: FakeSender, tmp_path: Path, end: wire.FileEnd) -> None:
    (tmp_path / "file").write_text("old")
    sender.entry(b"file", size=4)
    sender.answer()
    sender.send(wire.Data(0, 0, b"1234"), end)
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert b"digests differ" in failed.sentence
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_holes_and_what_is_left_out_take_no_space(sender: FakeSender, tmp_path: Path) -> None:
    number = wanted(sender, size=64 * CHUNK)
    sender.send(wire.Hole(number, 0, 10 * CHUNK), wire.Data(number, 10 * CHUNK, b"data"))
    sender.send(wire.Data(number, 20 * CHUNK, b"more"))
    content = bytearray(64 * CHUNK)
    content[10 * CHUNK : 10 * CHUNK + 4] = b"data"
    content[20 * CHUNK : 20 * CHUNK + 4] = b"more"
    sender.end(number, bytes(content))
    assert isinstance(sender.answer(), wire.FileDone)
    assert (tmp_path / "file").read_bytes() == content
    assert (tmp_path / "file").stat().st_blocks * 512 < CHUNK


def leave(directory: Path, content: bytes) -> Path:
    path = directory / os.fsdecode(temporary_name(b"file"))
    path.write_bytes(content)
    return path


def test_only_what_an_earlier_attempt_lacks_is_received(sender: FakeSender, tmp_path: Path) -> None:
    content = os.urandom(3 * CHUNK + 5)
    damaged = content[:CHUNK] + b"damaged" + content[CHUNK + 7 : 2 * CHUNK + 9]
    left = leave(tmp_path, damaged)
    number = sender.entry(b"file", size=len(content))
    want = sender.answer()
    assert isinstance(want, wire.Want)
    assert want.basis == wire.PARTIAL
    assert [length for length, _ in wire.unpack_chunks(want.have)] == [CHUNK, CHUNK, 9]
    sender.send(wire.Copy(number, 0, CHUNK, 0), wire.Data(number, CHUNK, content[CHUNK : 2 * CHUNK]))
    sender.send(wire.Copy(number, 2 * CHUNK, 9, 2 * CHUNK))
    sender.send(wire.Data(number, 2 * CHUNK + 9, content[2 * CHUNK + 9 : 3 * CHUNK]))
    sender.send(wire.Data(number, 3 * CHUNK, content[3 * CHUNK :]))
    sender.end(number, content)
    assert isinstance(sender.answer(), wire.FileDone)
    assert (tmp_path / "file").read_bytes() == content
    assert not left.exists()


def test_holes_are_made_in_what_an_earlier_attempt_has_left(sender: FakeSender, tmp_path: Path) -> None:
    leave(tmp_path, b"x" * (2 * CHUNK + 100))
    content = bytes(2 * CHUNK) + b"x" * 50 + bytes(CHUNK)
    number = sender.entry(b"file", size=len(content))
    sender.answer()
    sender.send(wire.Hole(number, 0, 2 * CHUNK), wire.Copy(number, 2 * CHUNK, 50, 2 * CHUNK))
    sender.end(number, content)
    assert isinstance(sender.answer(), wire.FileDone)
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize("how", ["cut", "cancelled", "aborted"])
def test_a_large_file_that_was_cut_off_is_kept_for_the_next_attempt(tmp_path: Path, how: str) -> None:
    sender = FakeSender(tmp_path)
    content = os.urandom(2 * CHUNK)
    for path, size in ((b"large", CHUNK), (b"small", CHUNK - 1)):
        number = wanted(sender, path, 2 * CHUNK)
        sender.send(wire.Data(number, 0, content[:size]))
        if how == "aborted":
            sender.send(wire.Abort(number, errno.EIO, b"the disk has failed"))
            assert sender.answer() == wire.Failed(number, errno.EIO, b"the disk has failed")
    if how == "cancelled":
        sender.receiver.cancel()
    sender.close()
    (left,) = names(tmp_path)
    assert is_temporary(left.encode())
    again = FakeSender(tmp_path)
    again.entry(b"large", size=2 * CHUNK)
    want = again.answer()
    assert isinstance(want, wire.Want)
    assert want.basis == wire.PARTIAL
    again.close()
    assert names(tmp_path) == [left]


@pytest.mark.parametrize("delta", [False, True])
def test_what_an_earlier_attempt_has_left_outlives_a_cut_at_the_beginning(tmp_path: Path, delta: bool) -> None:
    if delta:
        (tmp_path / "file").write_bytes(os.urandom(2 * CHUNK))
    left = leave(tmp_path, os.urandom(5 * CHUNK))
    sender = FakeSender(tmp_path, options=put_options(tmp_path, delta=delta))
    number = sender.entry(b"file", size=6 * CHUNK)
    want = sender.answer()
    assert isinstance(want, wire.Want)
    assert want.basis == (wire.BASIS if delta else wire.PARTIAL)
    sender.send(wire.Data(number, 0, b"little"))
    sender.close()
    assert left.stat().st_size == 5 * CHUNK
    assert len(names(tmp_path)) == 1 + delta


def test_a_file_begins_again(sender: FakeSender, tmp_path: Path) -> None:
    number = wanted(sender)
    sender.send(wire.Data(number, 0, b"longer than the other"), wire.Restart(number), wire.Data(number, 0, b"other"))
    sender.end(number, b"other")
    assert isinstance(sender.answer(), wire.FileDone)
    assert (tmp_path / "file").read_bytes() == b"other"


@pytest.mark.parametrize(
    "frames",
    [
        [wire.Data(1, 0, b"x")],
        [wire.FileEnd(7, 0, 0, 0, bytes(32))],
        [wire.Abort(7, 5, b"")],
        [wire.Restart(7)],
        [wire.Data(0, 0, b"12"), wire.Data(0, 1, b"2")],
        [wire.Data(0, 5, b"12"), wire.Hole(0, 4, 1)],
        [wire.Hole(0, 0, 0)],
        [wire.Hole(0, 1, (1 << 63) - 1)],
        [wire.Data(0, (1 << 64) - 1, b"x")],
        [wire.Copy(0, 0, 1, 0)],
        [wire.Data(0, 0, b"12"), wire.Copy(0, 2, 2, 0)],
        [wire.Data(0, 0, b"12"), wire.FileEnd(0, 1, 0, 0, bytes(32))],
        [wire.Skip(0)],
        [wire.Finish()],
        [wire.Entry(2, 0, 0, 0, 0, 0, 0, b"x")],
        [wire.Entry(0, 0, 0, 0, 0, 0, 0, b"x")],
        [wire.Walked(0, 0, 1)],
        [wire.Walked(1, 0, 1), wire.Entry(1, 0, 0, 0, 0, 0, 0, b"x")],
        [wire.Entry(1, wire.HARDLINK, 0, 0, 0, 0, 0, b"x", b"1")],
        [wire.Listed(1, 1)],
    ],
)
def test_what_is_not_due_ends_the_transfer(tmp_path: Path, frames: list[wire.Frame]) -> None:
    sender = FakeSender(tmp_path)
    wanted(sender)
    sender.send(*frames)
    sender.close()
    assert isinstance(sender.error, wire.WireError)
    assert names(tmp_path) == []


def test_content_that_is_not_wanted_yet_ends_the_transfer(tmp_path: Path) -> None:
    (tmp_path / "fresh").write_bytes(b"1")
    os.utime(tmp_path / "fresh", ns=(10**18, 10**18))
    sender = FakeSender(tmp_path)
    number = sender.entry(b"fresh", size=1)
    assert sender.answer() == wire.Skip(number)
    sender.send(wire.Data(number, 0, b"1"))
    sender.close()
    assert isinstance(sender.error, wire.WireError)


def test_only_so_many_files_have_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_UNANSWERED", 3)
    sender = FakeSender(tmp_path)
    for number in range(4):
        sender.entry(b"%d" % number)
    sender.close()
    assert isinstance(sender.error, wire.WireError)


def test_only_so_many_files_arrive_at_the_same_time(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    for each in range(contents.MAX_RECEIVING + 1):
        sender.send(wire.Data(wanted(sender, b"%d" % each), 0, b"x"))
    sender.close()
    assert isinstance(sender.error, wire.WireError)
    assert names(tmp_path) == []


def test_a_stream_that_ends_early_is_an_error(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path)
    wanted(sender)
    sender.close()
    assert isinstance(sender.error, StreamEnded)


class Failing:
    """Calls of the operating system that fail for one file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
        self._real = getattr(os, call)
        self._number = number
        self.left = 1
        monkeypatch.setattr(os, call, self)

    def __call__(self, *arguments: object, **keywords: object) -> object:
        if self.left:
            self.left -= 1
            raise OSError(self._number, os.strerror(self._number))
        return self._real(*arguments, **keywords)


@pytest.mark.parametrize("call", ["pwrite", "fchmod", "utime", "rename", "fsync", "ftruncate"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMLINK, errno.EIO])
def test_a_file_that_cannot_be_written_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    (tmp_path / "first").write_text("old")
    (tmp_path / "first").chmod(0o600)
    sender = FakeSender(tmp_path)
    first, second = sender.entry(b"first", size=5), sender.entry(b"second", size=5)
    sender.answer()
    sender.answer()
    Failing(monkeypatch, call, number)
    sender.send(wire.Data(first, 0, b"1"), wire.Hole(first, 1, 3), wire.Data(first, 4, b"1"))
    sender.end(first, b"1\0\0\0001")
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert (failed.number, failed.errno) == (first, number)
    sender.send(wire.Data(second, 0, b"second"))
    sender.end(second, b"second")
    assert isinstance(sender.answer(), wire.FileDone)
    list(sender.finish())
    assert names(tmp_path) == ["first", "second"]
    if call != "fsync":
        assert (tmp_path / "first").read_text() == "old"
    assert sender.totals is not None
    assert (sender.totals.files, sender.totals.failed) == (1, 1)


def test_a_file_that_its_owner_cannot_read_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(durability, "_sync_file", refuse)
    sender = FakeSender(tmp_path, options=put_options(tmp_path, mode=0o200))
    sender.file(b"file", b"content")
    assert isinstance(sender.answer(), wire.FileDone)
    list(sender.finish())


def test_a_file_in_place_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"x" * (2 * CHUNK + 9))
    inode = (tmp_path / "image").stat().st_ino
    sender = FakeSender(tmp_path / "image", options=put_options(tmp_path / "image", in_place=True))
    content = b"x" * CHUNK + bytes(CHUNK)
    number = sender.entry(b"image", size=len(content))
    want = sender.answer()
    assert isinstance(want, wire.Want)
    assert want.basis == wire.PARTIAL
    sender.send(wire.Copy(number, 0, CHUNK, 0), wire.Hole(number, CHUNK, CHUNK))
    sender.end(number, content)
    assert isinstance(sender.answer(), wire.FileDone)
    list(sender.finish())
    assert (tmp_path / "image").read_bytes() == content
    assert (tmp_path / "image").stat().st_ino == inode


def test_a_new_file_can_be_made_in_place(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path, options=put_options(tmp_path, in_place=True))
    sender.file(b"new", b"content", mode=0o640)
    assert isinstance(sender.answer(), wire.FileDone)
    list(sender.finish())
    assert (tmp_path / "new").read_bytes() == b"content"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_a_damaged_file_in_place_is_told(tmp_path: Path) -> None:
    sender = FakeSender(tmp_path, options=put_options(tmp_path, in_place=True))
    wanted(sender)
    sender.send(wire.Data(0, 0, b"x"), wire.FileEnd(0, 1, 0, 0o644, bytes(32)))
    failed = sender.answer()
    assert isinstance(failed, wire.Failed)
    assert b"damaged" in failed.sentence
    sender.close()


def test_of_several_files_none_is_written_to_a_sink(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    sender = FakeSender(Sink(writing))
    first, other = sender.entry(b"a", size=1), sender.entry(b"b")
    sender.send(wire.Walked(2, 1, 1))
    told = sender.answer()
    assert isinstance(told, wire.Problem)
    assert told.sentence == b"only one file can be written to a pipe"
    assert [sender.answer(), sender.answer()] == [wire.Failed(other, 0, b""), wire.Failed(first, 0, b"")]
    sender.close()
    os.close(writing)
    assert os.read(reading, 100) == b""
    os.close(reading)


def test_a_sink_takes_one_file_in_order(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    sender = FakeSender(Sink(writing))
    number = sender.entry(b"some/file", size=-1)
    sender.send(wire.Walked(1, 0, 1))
    assert sender.answer() == wire.Want(number, wire.NOTHING, 1)
    sender.send(wire.Data(number, 0, b"data"), wire.Hole(number, 4, 3), wire.Data(number, 7, b"end"))
    sender.end(number, b"data\0\0\0end")
    assert isinstance(sender.answer(), wire.FileDone)
    sender.send(wire.Finish())
    assert isinstance(sender.answer(), wire.Summary)
    sender.close()
    os.close(writing)
    assert os.read(reading, 100) == b"data\0\0\0end"
    os.close(reading)


def test_a_sink_that_nobody_reads_fails(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    sender = FakeSender(Sink(writing))
    number = sender.entry(b"f", size=4)
    sender.send(wire.Walked(1, 4, 1))
    assert isinstance(sender.answer(), wire.Want)
    sender.send(wire.Data(number, 0, b"data"))
    assert isinstance(failed := sender.answer(), wire.Failed)
    assert failed.errno == errno.EPIPE
    sender.close()
    os.close(writing)
