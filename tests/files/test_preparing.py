"""What the receiver has already of a file that it wants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from farhand_files import preparing, wire
from farhand_files.opening import Directory
from farhand_files.temporary import Leftovers, temporary_name
from tests.support.transferring import FakeSender, put_options

CHUNK = wire.CHUNK


def leave(directory: Path, target: bytes, content: bytes) -> None:
    (directory / os.fsdecode(temporary_name(target))).write_bytes(content)


def want(sender: FakeSender) -> wire.Want:
    frame = sender.answer()
    assert isinstance(frame, wire.Want)
    return frame


def test_what_was_left_is_requested_as_chunks(tmp_path: Path) -> None:
    content = os.urandom(2 * CHUNK + 7)
    leave(tmp_path, b"file", content)
    sender = FakeSender(tmp_path)
    sender.entry(b"file", size=5 * CHUNK)
    frame = want(sender)
    sender.close()
    expected = [content[:CHUNK], content[CHUNK : 2 * CHUNK], content[2 * CHUNK :]]
    assert frame.have == wire.pack_chunks([(len(each), blake3(each).digest()) for each in expected])


def test_what_is_beyond_the_files_size_is_not_requested(tmp_path: Path) -> None:
    leave(tmp_path, b"file", bytes(3 * CHUNK))
    sender = FakeSender(tmp_path)
    sender.entry(b"file", size=CHUNK + 5)
    assert [length for length, _ in wire.unpack_chunks(want(sender).have)] == [CHUNK, 5]
    sender.end(0, bytes(CHUNK + 5))
    assert isinstance(sender.answer(), wire.FileDone)
    list(sender.finish())
    assert (tmp_path / "file").read_bytes() == bytes(CHUNK + 5)


def test_many_digests_are_sent_in_several_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_DIGESTS", 2)
    leave(tmp_path, b"file", bytes(5 * CHUNK))
    sender = FakeSender(tmp_path)
    sender.entry(b"file", size=9 * CHUNK)
    frames = [want(sender) for _ in range(3)]
    sender.close()
    assert [(frame.last, len(frame.have)) for frame in frames] == [(0, 72), (0, 72), (1, 36)]


def test_an_old_file_and_what_was_left_are_both_used(tmp_path: Path) -> None:
    old, left = os.urandom(2 * CHUNK), os.urandom(CHUNK)
    (tmp_path / "file").write_bytes(old)
    leave(tmp_path, b"file", left)
    sender = FakeSender(tmp_path, options=put_options(tmp_path, delta=True))
    sender.entry(b"file", size=3 * CHUNK)
    frame = want(sender)
    assert frame.basis == wire.BASIS
    assert sum(length for length, _ in wire.unpack_chunks(frame.have)) == 3 * CHUNK
    sender.send(wire.Copy(0, 0, CHUNK, 2 * CHUNK), wire.Copy(0, CHUNK, CHUNK, 0), wire.Data(0, 2 * CHUNK, b"end"))
    sender.end(0, left + old[:CHUNK] + b"end")
    assert isinstance(sender.answer(), wire.FileDone)
    list(sender.finish())
    assert (tmp_path / "file").read_bytes() == left + old[:CHUNK] + b"end"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_is_read_again_only_for_files_of_which_something_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Counted(Leftovers):
        def __init__(self, directory: Directory) -> None:
            read.append(os.fsdecode(directory.path))
            super().__init__(directory)

    monkeypatch.setattr(preparing, "Leftovers", Counted)
    leave(tmp_path, b"file 3", bytes(CHUNK))
    sender = FakeSender(tmp_path, options=put_options(tmp_path, delta=True))
    for number in range(6):
        (tmp_path / f"file {number}").write_bytes(bytes(2 * CHUNK))
        sender.entry(b"file %d" % number, size=3 * CHUNK)
        assert want(sender).basis == wire.BASIS
    sender.close()
    assert read == [str(tmp_path)]


def test_what_another_receiver_uses_is_of_use_as_a_copy(tmp_path: Path) -> None:
    leave(tmp_path, b"file", bytes(2 * CHUNK))
    first, second = FakeSender(tmp_path), FakeSender(tmp_path)
    first.entry(b"file", size=3 * CHUNK)
    assert want(first).basis == wire.PARTIAL
    second.entry(b"file", size=3 * CHUNK)
    assert want(second).basis == wire.PARTIAL
    for sender, content in ((second, b"second"), (first, b"first")):
        sender.send(wire.Data(0, 0, content))
        sender.end(0, content)
        assert isinstance(sender.answer(), wire.FileDone)
        assert (tmp_path / "file").read_bytes() == content  # the last whole one wins
        list(sender.finish())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_old_file_that_cannot_be_read_is_requested_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(2 * CHUNK))
    sender = FakeSender(tmp_path, options=put_options(tmp_path, checksum=True))

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(preparing, "Basis", refuse)
    sender.entry(b"file", size=2 * CHUNK)
    assert want(sender).basis == wire.NOTHING
    sender.close()


def test_a_file_that_cannot_be_opened_in_place_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(CHUNK))
    sender = FakeSender(tmp_path, options=put_options(tmp_path, in_place=True))

    def refuse(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(preparing, "Temporary", refuse)
    sender.entry(b"file", size=CHUNK)
    assert sender.answer() == wire.Failed(0, 13, b"permission denied")
    list(sender.finish())


def test_more_files_are_prepared_once_others_are_over(tmp_path: Path) -> None:
    count = 2 * preparing.MAX_PREPARED
    for number in range(count):
        leave(tmp_path, b"%d" % number, bytes(CHUNK))
    sender = FakeSender(tmp_path)
    for number in range(count):
        sender.entry(b"%d" % number, size=CHUNK)
    wanted, answers = [], 0
    while answers < count:
        frame = sender.answer()
        if not isinstance(frame, wire.Want):
            answers += 1
            continue
        number = frame.number
        wanted.append(number)
        if number % 2:
            sender.send(wire.Abort(number, 5, b"unreadable"))
        else:
            sender.send(wire.Copy(number, 0, CHUNK, 0))
            sender.end(number, bytes(CHUNK))
    list(sender.finish())
    assert wanted == list(range(count))
    assert sender.totals is not None
    assert (sender.totals.files, sender.totals.failed) == (count // 2, count // 2)
