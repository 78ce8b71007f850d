"""Spools take space only while enough of the file system stays free, and that is noticed in both directions."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from farhand_server.runs.output.directory import FULL_PAUSE, GRANT, SpoolDirectory
from farhand_server.sharing import ShareBounds


class FileSystem:
    """What statvfs(3) says about a file system of 4,096 blocks of 4 KiB, and how often it was asked."""

    def __init__(self) -> None:
        self.free = 4096
        self.total = 4096
        self.looks = 0

    def statvfs(self, path: Path) -> SimpleNamespace:
        self.looks += 1
        return SimpleNamespace(f_blocks=self.total, f_frsize=4096, f_bavail=self.free, f_bfree=self.free + 100)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FileSystem:
    disk = FileSystem()
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    return disk


def test_space_is_granted_until_the_free_part_is_reached(disk: FileSystem) -> None:
    directory = SpoolDirectory(Path("/x"), keep_free=1 << 20)
    disk.free = 256 + 10
    assert directory.grant(4096) == 4096
    assert directory.grant(1 << 20) == 10 * 4096
    disk.free = 256
    assert directory.grant(4096) == 0
    assert directory.low


def test_half_of_the_free_part_may_be_used_for_what_is_urgent(disk: FileSystem) -> None:
    directory = SpoolDirectory(Path("/x"), keep_free=1 << 20)
    disk.free = 200
    assert directory.grant(4096) == 0
    assert directory.grant(4096, urgent=True) == 4096
    disk.free = 128
    assert directory.grant(4096, urgent=True) == 0


def test_at_most_an_eighth_of_a_small_file_system_stays_free(disk: FileSystem) -> None:
    directory = SpoolDirectory(Path("/x"), keep_free=1 << 40)
    disk.free = 4096 // 8
    assert directory.grant(1) == 0
    disk.free = 4096 // 8 + 1
    assert directory.grant(4096) == 4096


def test_the_file_system_is_asked_rarely_while_there_is_room(disk: FileSystem) -> None:
    disk.total = disk.free = 1 << 30
    directory = SpoolDirectory(Path("/x"), keep_free=1 << 20)
    for _ in range(10 * GRANT // 65536):
        assert directory.grant(65536) == 65536
    assert disk.looks <= 12


def test_low_space_is_noticed_once_and_its_end_without_a_spool(disk: FileSystem) -> None:
    directory, changes = SpoolDirectory(Path("/x"), keep_free=1 << 20), list[bool]()
    directory.on_change = lambda: changes.append(directory.low)
    disk.free = 100
    for _ in range(3):
        directory.grant(4096)
    assert directory.check()
    disk.free = 4096
    assert not directory.check()
    assert changes == [True, False]


def test_after_a_refusal_by_a_quota_only_what_is_urgent_may_grow_for_a_while(
    disk: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = SpoolDirectory(Path("/x"), keep_free=1 << 20)
    directory.refused()
    assert (directory.check(), directory.grant(4096), directory.grant(4096, urgent=True)) == (True, 0, 4096)
    later = time.monotonic() + FULL_PAUSE
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not directory.check()
    assert directory.grant(4096) == 4096


def test_a_file_system_that_does_not_tell_is_written_until_it_refuses(disk: FileSystem, tmp_path: Path) -> None:
    disk.total = disk.free = 0
    assert SpoolDirectory(tmp_path, keep_free=1 << 20).grant(4096) == 4096


def test_a_directory_that_cannot_be_asked_is_written_until_it_refuses(tmp_path: Path) -> None:
    assert SpoolDirectory(tmp_path / "missing", keep_free=1 << 60).grant(4096) == 4096


def test_what_a_dead_service_has_left_is_deleted_and_counted(tmp_path: Path) -> None:
    directory = SpoolDirectory(tmp_path / "spool")
    assert directory.clear() == (0, 0)
    directory.path.mkdir()
    for number in range(3):
        (directory.path / f"{number}.stdout").write_bytes(bytes(8192))
    (directory.path / "a-directory").mkdir()
    number, size = directory.clear()
    assert number == 3
    assert size >= 3 * 8192
    assert [entry.name for entry in directory.path.iterdir()] == ["a-directory"]


def test_what_one_account_writes_leaves_others_their_part(disk: FileSystem) -> None:
    directory = SpoolDirectory(Path("/x"), keep_free=0)
    disk.total = disk.free = 3 * GRANT // 4096
    eve, ada, root = (directory.of(uid) for uid in (50_001, 50_002, 0))
    written = 0
    while granted := eve.grant(1 << 20):
        written += granted
        disk.free = (3 * GRANT - written) // 4096
    assert abs(written - 2 * GRANT) <= 1 << 20
    assert directory.by_user.of(50_001) == written
    assert directory.part(50_001) <= written + 4096
    assert eve.grant(4096, small=True) == 4096, "the last screens of any run are kept"
    assert ada.grant(1 << 20) == 1 << 20
    assert root.grant(GRANT // 2) == GRANT // 2
    eve.give_back(written)
    disk.free = 3 * GRANT // 4096
    assert eve.grant(1 << 20) == 1 << 20


def test_an_account_with_a_bound_of_disk_has_no_more_than_that_and_small_files(disk: FileSystem) -> None:
    directory = SpoolDirectory(Path("/x"), keep_free=0)
    disk.total = disk.free = 1 << 20
    directory.bounds.use(lambda user, groups: ShareBounds(disk=3 << 20))
    directory.bounds.add(50_001, "eve", frozenset())
    eve = directory.of(50_001)
    assert [eve.grant(2 << 20) for _ in range(3)] == [2 << 20, 1 << 20, 0]
    assert directory.part(50_001) == 3 << 20
    assert eve.grant(4096, small=True) == 4096
    eve.give_back(2 << 20)
    assert eve.grant(1 << 20) == 1 << 20


def test_files_that_the_previous_program_has_left_count(disk: FileSystem) -> None:
    directory = SpoolDirectory(Path("/x"))
    directory.of(50_001).adopt(1 << 20)
    directory.of(50_002).adopt(1 << 10)
    assert (directory.by_user.total, directory.by_user.of(50_001)) == ((1 << 20) + (1 << 10), 1 << 20)
