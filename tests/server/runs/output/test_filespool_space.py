"""A spool on a disk that has no more space, or fails, loses nothing without saying so."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.filespool import MIN_RING, FileSpool
from tests.support.read_spools import everything, fd_of, unused


class LimitedSpace(SpoolDirectory):
    """Grants `room` bytes, and no more."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__(path)
        self.room = room

    def grant(self, count: int, *, urgent: bool = False, small: bool = False) -> int:
        granted = min(count, self.room)
        self.room -= granted
        return granted


@given(
    chunks=st.lists(st.integers(1, 20_000), max_size=12),
    limit=st.integers(MIN_RING, 40_000),
    room=st.integers(MIN_RING, 40_000),
)
def test_without_more_space_a_ring_stays_as_large_as_it_is_and_loses_exactly_the_oldest_bytes(
    new_directory: Callable[[], Path], chunks: list[int], limit: int, room: int
) -> None:
    directory, failures = new_directory(), list[str]()
    space = LimitedSpace(directory, room)
    spool = FileSpool(directory / "ring", limit, space=space)
    spool.on_failure = failures.append
    whole = b""
    for number, size in enumerate(chunks):
        chunk = bytes([number]) * size
        spool.append(chunk)
        whole += chunk
        kept = min(limit, room)
        assert (spool.start, spool.end) == (max(0, len(whole) - kept), len(whole))
        assert everything(spool, spool.start, 7000) == whole[spool.start :]
        if number % 3 == 2:  # the next program looks at the file system anew
            space = LimitedSpace(directory, room - min(len(whole), kept))
            spool = FileSpool.restore(spool.snapshot(unused), space)
    assert spool.path.stat().st_size <= room
    assert failures == []
    spool.close()


@pytest.mark.parametrize(("number", "kept"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_file_system_that_has_no_more_space_is_the_same_and_any_other_error_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kept: bool
) -> None:
    directory, failures, pwrite = SpoolDirectory(tmp_path), list[str](), os.pwrite
    spool = FileSpool(tmp_path / "ring", 1 << 20, space=directory)
    spool.on_failure = failures.append
    spool.append(bytes(8192))

    def fail(fd: int, data: bytes, offset: int) -> int:
        if offset + len(data) > 8192:
            raise OSError(number, os.strerror(number))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", fail)
    spool.append(b"x" * 5000)
    if kept:
        assert (spool.start, spool.end, failures) == (13192 - 6144, 13192, [])
        assert everything(spool, spool.start, 999) == bytes(1144) + b"x" * 5000
        assert spool.path.stat().st_size == 6144, "a quarter is given back"
    else:
        assert failures == [f"the output cannot be kept in {spool.path}: {os.strerror(number)}"]
    assert directory.low == kept
    spool.close()


@given(
    chunks=st.lists(st.integers(1, 20_000), max_size=12),
    limit=st.integers(MIN_RING, 60_000),
    quota=st.integers(MIN_RING, 60_000),
)
def test_a_ring_that_meets_a_quota_gives_some_back_and_keeps_exactly_the_last_bytes(
    new_directory: Callable[[], Path], chunks: list[int], limit: int, quota: int
) -> None:
    directory, failures, pwrite = new_directory(), list[str](), os.pwrite
    spool = FileSpool(directory / "ring", limit)
    spool.on_failure = failures.append
    whole = b""

    def limited(fd: int, data: bytes, offset: int) -> int:
        if offset >= quota:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return pwrite(fd, data[: quota - offset], offset)

    with mock.patch.object(os, "pwrite", limited):
        for number, size in enumerate(chunks):
            chunk = bytes([number + 1]) * size
            spool.append(chunk)
            whole += chunk
            assert spool.end == len(whole)
            assert spool.size >= min(len(whole), limit, quota - quota // 4)
            assert everything(spool, spool.start, 7000) == whole[spool.start :]
    assert spool.path.stat().st_size <= (quota if len(whole) <= quota else max(quota - quota // 4, limit))
    assert failures == []
    spool.close()


def test_a_recording_that_gets_no_more_space_is_reported(tmp_path: Path) -> None:
    spool, failures = FileSpool(tmp_path / "all", 1 << 20, space=LimitedSpace(tmp_path, 8192), whole=True), list[str]()
    spool.on_failure = failures.append
    spool.append(bytes(10_000))
    assert failures == [f"the output cannot be kept in {spool.path}: No space left on device"]
    assert (spool.start, spool.end) == (0, 8192)
    spool.close()


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=12),
    st.integers(0, 12),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_a_spool_with_spare_memory_continues_in_memory_when_the_disk_fails(
    new_directory: Callable[[], Path], chunks: list[bytes], until: int, size: int, spare: int
) -> None:
    spool = FileSpool(new_directory() / "ring", size, spare=spare)
    failures = list[str]()
    spool.on_failure = failures.append
    whole = b""
    for number, chunk in enumerate(chunks):
        if number == until:
            unwritable = os.open(spool.path, os.O_RDONLY)
            os.dup2(unwritable, fd_of(spool.path))
            os.close(unwritable)
        spool.append(chunk)
        whole += chunk
        assert spool.end == len(whole)
        if number >= until:
            assert spool.size >= min(len(chunk), spare)
            assert spool.size <= spare
        assert everything(spool, spool.start, 7) == whole[spool.start :]
    assert failures == []
    spool.finish()
    assert everything(spool, spool.start, 7) == whole[spool.start :]
    spool.close()
    assert not spool.path.exists()


def test_the_last_bytes_of_the_file_are_kept_in_memory_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spool = FileSpool(tmp_path / "ring", 100, spare=8)
    spool.append(b"0123456789")
    monkeypatch.setattr(os, "pwrite", full)
    spool.append(b"ab")
    assert (spool.start, spool.read(4, 10)) == (4, b"456789ab")
    assert not spool.path.exists()
    spool.close()
