"""A spool on disk keeps exactly the last bytes of a stream up to its size, and reports when the disk fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.filespool import GROWTH, NEWEST, RECORDING_FULL, FileSpool
from tests.support.processes import own_descriptors
from tests.support.read_spools import everything, fd_of, unused


def descriptors() -> int:
    return len(own_descriptors())


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=30),
    size=st.integers(min_value=1, max_value=50),
    limit=st.integers(min_value=1, max_value=60),
)
def test_exactly_the_last_bytes_are_kept(
    new_directory: Callable[[], Path], chunks: list[bytes], size: int, limit: int
) -> None:
    spool = FileSpool(new_directory() / "ring", size)
    whole = b""
    for chunk in chunks:
        spool.append(chunk)
        whole += chunk
        assert (spool.start, spool.end) == (max(0, len(whole) - size), len(whole))
        assert everything(spool, spool.start, limit) == whole[spool.start :]
    assert spool.path.stat().st_size <= size
    spool.close()


def test_reading_dropped_bytes_is_an_error_and_never_returns_others(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "ring", 10)
    spool.append(b"0123456789ab")
    with pytest.raises(ValueError, match="2 to 12 are"):
        spool.read(1, 10)
    with pytest.raises(ValueError, match="2 to 12 are"):
        spool.read(13, 10)
    spool.close()


def test_the_writer_of_a_file_waits_only_on_request(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "ring", 10)
    room_at: list[int] = []
    spool.on_room = lambda: room_at.append(spool.end)
    spool.append(bytes(1000))
    assert not spool.full
    spool.wait_at(1000)
    assert (spool.full, room_at) == (True, [])
    spool.wait_at(1001)
    assert (spool.full, room_at) == (False, [1000])
    spool.append(b"more")
    assert (spool.full, room_at) == (True, [1000])
    spool.close()


def test_a_full_disk_is_reported_once_and_the_kept_output_can_be_read(tmp_path: Path) -> None:
    spool, failures, notified = FileSpool(tmp_path / "ring", 10), list[str](), list[int]()
    spool.on_failure = failures.append
    spool.listeners.append(lambda: notified.append(spool.end))
    spool.append(b"before")
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, fd_of(spool.path))
    os.close(full)
    spool.append(b"after")
    spool.append(b"more")
    assert failures == [f"the output cannot be kept in {spool.path}: No space left on device"]
    assert spool.end == 6
    assert notified == [6, 6]
    spool.close()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 100))
def test_a_whole_spool_keeps_the_first_bytes_and_reports_once_that_more_followed(
    new_directory: Callable[[], Path], chunks: list[bytes], size: int
) -> None:
    spool, failures = FileSpool(new_directory() / "whole", size, whole=True), list[str]()
    spool.on_failure = failures.append
    for chunk in chunks:
        spool.append(chunk)
    written = b"".join(chunks)
    assert everything(spool, 0, 7) == written[:size]
    assert failures == ([RECORDING_FULL] if len(written) > size else [])
    spool.close()


def test_a_whole_spool_that_is_restored_is_whole(tmp_path: Path) -> None:
    before = FileSpool(tmp_path / "it", 10, whole=True)
    before.append(b"0123456")
    spool, failures = FileSpool.restore(before.snapshot(unused)), list[str]()
    spool.on_failure = failures.append
    spool.append(b"789a")
    assert (everything(spool, 0, 10), failures) == (b"0123456789", [RECORDING_FULL])
    before.close()
    spool.close()


def test_reading_a_truncated_file_is_an_error_of_the_disk(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "ring", 10)
    spool.append(b"1234")
    spool.append(b"5")
    os.truncate(spool.path, 0)
    with pytest.raises(OSError, match="truncated"):
        spool.read(0, 5)
    spool.close()


def test_what_was_written_last_is_read_without_the_file_if_it_is_little(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "ring", 10 * NEWEST)
    for size, kept in ((1, True), (NEWEST, True), (NEWEST + 1, False), (1, True)):
        spool.append(bytes(size))
        os.truncate(spool.path, 0)
        if kept:
            assert spool.read(spool.end - size, 1 << 20) == bytes(size)
        else:
            with pytest.raises(OSError, match="truncated"):
                spool.read(spool.end - size, 1 << 20)
    spool.close()
    with pytest.raises(ValueError, match="not kept"):
        spool.read(spool.end - 1, 1)


def test_a_file_asks_for_space_in_steps_and_for_no_more_than_its_ring(tmp_path: Path) -> None:
    asked: list[int] = []

    class Asked(SpoolDirectory):
        def grant(self, count: int, *, urgent: bool = False, small: bool = False) -> int:
            asked.append(count)
            return count

    spool = FileSpool(tmp_path / "ring", GROWTH + 100, space=Asked(tmp_path))
    for _ in range(3 * GROWTH):
        spool.append(b"k")
    assert asked == [GROWTH, 100]
    spool.close()


def test_a_closed_spool_leaves_no_file_and_no_descriptor(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "ring", 10)
    spool.append(b"12345")
    fd = fd_of(spool.path)
    spool.close()
    spool.close()
    assert not spool.path.exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert (spool.start, spool.end) == (5, 5)


@pytest.mark.parametrize("again", [False, True])
def test_an_ended_spool_can_be_read_and_has_no_descriptor(tmp_path: Path, again: bool) -> None:
    before = descriptors()
    spool = FileSpool(tmp_path / "ring", 100)
    spool.append(b"kept for a while")
    spool.finish()
    if again:
        spool = FileSpool.restore(spool.snapshot(unused))
    assert descriptors() == before
    assert everything(spool, 0, 5) == b"kept for a while"
    assert descriptors() == before
    spool.close()
    assert not spool.path.exists()


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text("somebody's")
    with pytest.raises(FileExistsError):
        FileSpool(tmp_path / "ring", 10)


def test_the_file_is_readable_by_the_service_only(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "ring", 10)
    assert spool.path.stat().st_mode & 0o777 == 0o600
    spool.close()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 0)], ids=["removed", "truncated"])
def test_a_deleted_or_truncated_file_loses_the_output_but_not_the_run(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    before = FileSpool(tmp_path / "it", 100)
    before.append(b"x" * 30)
    damage(before.path)
    spool = FileSpool.restore(before.snapshot(unused))
    assert (spool.start, spool.end, spool.size) == (30, 30, 0)
    spool.append(b"new")
    assert spool.read(30, 10) == b"new"
    spool.close()
    before.close()


def test_the_bytes_of_a_file_count_for_its_account_until_it_is_deleted(tmp_path: Path) -> None:
    directory = SpoolDirectory(tmp_path)
    spool = FileSpool(tmp_path / "x", 1 << 20, space=directory.of(50_001))
    spool.append(bytes(3 << 19))
    assert directory.by_user.of(50_001) == 1 << 20, "a ring is no larger than its limit"
    restored = FileSpool.restore(spool.snapshot(unused), directory.of(50_002))
    assert directory.by_user.of(50_002) == 1 << 20
    restored.close()
    spool.close()
    spool.close()
    assert directory.by_user.total == 0


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EROFS, errno.EIO])
def test_a_file_that_cannot_be_deleted_keeps_no_run_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    spool = FileSpool(tmp_path / "ring", 100)
    spool.append(b"output")

    def fail(path: Path, missing_ok: bool = False) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "unlink", fail)
    spool.close()
    assert (spool.start, spool.end) == (6, 6)


def test_a_disk_that_fails_while_space_is_given_back_shows_no_wrong_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, failures, pwrite = FileSpool(tmp_path / "ring", 4 << 20), list[str](), os.pwrite
    spool.on_failure = failures.append
    whole = b"".join(bytes([number]) * 4096 for number in range(256)) * 2
    spool.append(whole)
    errors = [errno.EDQUOT, 0, errno.EIO]

    def fail(fd: int, data: bytes, offset: int) -> int:
        if number := errors.pop(0):
            raise OSError(number, os.strerror(number))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", fail)
    spool.append(b"more")
    assert failures == [f"the output cannot be kept in {spool.path}: Input/output error"]
    assert everything(spool, spool.start, 1 << 20) == whole[spool.start :]
    spool.close()
