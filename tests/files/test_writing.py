"""The content of one file is written in order, and its digests are those of what is in the file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from farhand_files import wire, writing
from farhand_files.stream import Cancelled
from farhand_files.wire import WireError
from farhand_files.writing import ArrivingContent, Basis

PARTS = st.lists(
    st.tuples(st.sampled_from(["data", "hole", "gap", "copy"]), st.integers(1, 50), st.integers(0, 99)), max_size=12
)
OLD = bytes(range(1, 101))


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def content_of(fd: int) -> bytes:
    return os.pread(fd, 1 << 20, 0)


@given(parts=PARTS, tail=st.integers(0, 20), how=st.sampled_from(["new", "partial", "basis", "two bases"]))
def test_what_is_in_the_file_is_what_was_sent(parts: list[tuple[str, int, int]], tail: int, how: str) -> None:
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as one, tempfile.TemporaryFile() as two:
        bases = []
        if how == "partial":
            os.pwrite(file.fileno(), OLD, 0)
        elif how == "basis":
            os.pwrite(one.fileno(), OLD, 0)
            bases = [Basis(one.fileno(), 100)]
        elif how == "two bases":
            os.pwrite(one.fileno(), OLD[:30], 0)
            os.pwrite(two.fileno(), OLD[30:], 0)
            bases = [Basis(one.fileno(), 30), Basis(two.fileno(), 70)]
        existing = 100 if how == "partial" else 0
        made = ArrivingContent(file.fileno, existing=existing, basis=bases, moving=bool(bases), sha256=True)
        expected = b""
        for kind, length, source in parts:
            at = len(expected)
            if kind == "data":
                expected += bytes([200]) * length
                made.add_data(at, expected[at:])
            elif kind == "hole":
                expected += bytes(length)
                made.add_hole(at, length)
            elif kind == "gap":
                expected += bytes(length) + b"x"
                made.add_data(at + length, b"x")
            elif how != "new":
                source = source if bases else at
                length = min(length, 100 - source)
                if length > 0:
                    expected += OLD[source : source + length]
                    made.add_copy(at, length, source)
        expected += bytes(tail)
        made.end(len(expected))
        if made.unchanged and expected == OLD:
            assert content_of(file.fileno()) == b""
        else:
            assert content_of(file.fileno()) == expected
        assert made.hashes.blake3() == blake3(expected).digest()
        assert made.hashes.sha256() == hashlib.sha256(expected).digest()
        assert made.at == len(expected)


def test_nothing_is_written_if_all_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(OLD)
    old = os.open(tmp_path / "old", os.O_RDONLY)
    made = ArrivingContent(lambda: pytest.fail("was made"), basis=[Basis(old, 100)])
    made.add_copy(0, 60, 0)
    made.add_copy(60, 40, 60)
    made.end(100)
    assert made.unchanged
    assert (made.kept, made.sent) == (100, 0)
    os.close(old)


def test_a_file_that_only_becomes_shorter_is_written(tmp_path: Path, fd: int) -> None:
    (tmp_path / "old").write_bytes(OLD)
    old = os.open(tmp_path / "old", os.O_RDONLY)
    made = ArrivingContent(lambda: fd, basis=[Basis(old, 100)])
    made.add_copy(0, 60, 0)
    made.end(60)
    assert content_of(fd) == OLD[:60]
    os.close(old)


def test_what_an_old_file_has_lost_meanwhile_is_an_error(tmp_path: Path, fd: int) -> None:
    (tmp_path / "old").write_bytes(OLD)
    old = os.open(tmp_path / "old", os.O_RDWR)
    made = ArrivingContent(lambda: fd, basis=[Basis(old, 100)])
    made.add_copy(0, 60, 0)
    os.ftruncate(old, 10)
    with pytest.raises(OSError, match="become shorter"):
        made.add_copy(60, 40, 60)
    os.close(old)


@pytest.mark.parametrize(("offset", "length"), [(4, 1), (5, 0), (5, 1 << 63), (1 << 63, 1), ((1 << 63) - 2, 2)])
def test_what_cannot_be_content_is_refused(fd: int, offset: int, length: int) -> None:
    made = ArrivingContent(lambda: fd)
    made.add_data(0, b"12345")
    with pytest.raises(WireError):
        made.add_hole(offset, length)


@pytest.mark.parametrize(("offset", "length", "source"), [(0, 101, 0), (0, 1, 1), (50, 51, 50)])
def test_a_copy_of_what_is_not_there_is_refused(fd: int, offset: int, length: int, source: int) -> None:
    os.pwrite(fd, OLD, 0)
    with pytest.raises(WireError):
        ArrivingContent(lambda: fd, existing=100).add_copy(offset, length, source)


def test_after_a_restart_nothing_is_copied(fd: int) -> None:
    os.pwrite(fd, OLD, 0)
    made = ArrivingContent(lambda: fd, existing=100)
    made.add_copy(0, 10, 0)
    made.restart()
    with pytest.raises(WireError):
        made.add_copy(0, 10, 0)
    made.add_hole(0, 3)
    made.add_data(3, b"new")
    made.end(6)
    assert content_of(fd) == b"\0\0\0new"
    assert made.hashes.blake3() == blake3(b"\0\0\0new").digest()


def test_more_than_is_taken_is_refused(fd: int) -> None:
    made = ArrivingContent(lambda: fd, max_size=10)
    made.add_data(0, b"x" * 10)
    with pytest.raises(OSError, match="larger than the 10 bytes"):
        made.add_data(10, b"x")


def test_a_hole_beyond_what_a_file_can_have_fails_at_once(fd: int) -> None:
    with pytest.raises(OSError, match=r"large|space|argument"):
        ArrivingContent(lambda: fd).add_hole(0, (1 << 63) - 1)


@pytest.mark.parametrize(
    "begin",
    [
        lambda made: made.add_hole(0, 1 << 40),
        lambda made: made.add_data(1 << 40, b"x"),
        lambda made: made.end(1 << 40),
        lambda made: made.add_copy(0, 1 << 40, 0),
    ],
    ids=["hole", "left out before data", "left out at the end", "copy"],
)
def test_what_takes_long_can_be_cancelled(fd: int, begin: Callable[[ArrivingContent], None]) -> None:
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 3

    os.ftruncate(fd, 1 << 40)
    made = ArrivingContent(lambda: fd, existing=1 << 40, cancelled=cancelled)
    with pytest.raises(Cancelled):
        begin(made)
    assert len(asked) == 4


def test_zeros_are_written_where_no_hole_can_be_made(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing.sys, "platform", "darwin")  # type: ignore[attr-defined]  # not exported
    os.pwrite(fd, b"x" * (wire.CHUNK + 9), 0)
    made = ArrivingContent(lambda: fd, existing=wire.CHUNK + 9)
    made.add_hole(0, wire.CHUNK + 5)
    made.end(wire.CHUNK + 9)
    assert os.pread(fd, 2 * wire.CHUNK, 0) == bytes(wire.CHUNK + 9)


def test_writes_that_take_only_a_part_are_continued(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:3], offset))
    made = ArrivingContent(lambda: fd)
    made.add_data(0, b"0123456789")
    made.end(10)
    assert content_of(fd) == b"0123456789"


def test_what_goes_to_a_pipe_goes_there_in_order() -> None:
    reading, writing_end = os.pipe()
    made = ArrivingContent(lambda: writing_end, in_order=True)
    made.add_data(0, b"data")
    made.add_hole(4, 3)
    with pytest.raises(OSError, match="its beginning was passed on"):
        made.restart()
    made.end(9)
    assert os.read(reading, 100) == b"data\0\0\0\0\0"
    os.close(reading)
    os.close(writing_end)
