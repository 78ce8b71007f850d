"""Files and directories are made durable, many with one call where that reports errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_files import durability
from farhand_files.durability import FEW, Durability
from farhand_files.opening import Area, Directory
from farhand_files.temporary import Temporary, create


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as opened:
        yield opened


class Calls:
    """What is called instead of libc: every file system is a local one, and syncfs succeeds or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, answer: int = 0, local: bool = True) -> None:
        self.syncfs_calls = 0
        self.fsynced: list[int] = []
        self._answer = answer
        fsync = os.fsync

        def count(fd: int) -> None:
            self.fsynced.append(os.fstat(fd).st_ino)
            fsync(fd)

        monkeypatch.setattr(durability, "_libc", self)
        monkeypatch.setattr(durability, "_type", lambda _: 0xEF53 if local else 0x6969)
        monkeypatch.setattr(os, "fsync", count)

    def syncfs(self, fd: int) -> int:
        os.fstat(fd)
        self.syncfs_calls += 1
        return self._answer


def files(directory: Directory, count: int) -> list[Temporary]:
    made = [create(directory, b"%d" % number) for number in range(count)]
    for each in made:
        each.close()
    return made


def failures(made: list[tuple[object, OSError]]) -> list[int | None]:
    return [error.errno for _, error in made]


def sync(directory: Directory, count: int) -> list[tuple[object, OSError]]:
    """Sync so many files, and return those that failed."""
    failed: list[tuple[object, OSError]] = []
    made = Durability()
    made.register(directory)
    made.sync_files(files(directory, count), lambda file, error: failed.append((file, error)))
    made.close()
    made.close()
    return failed


def test_many_files_have_one_sync(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    assert sync(directory, FEW + 1) == []
    assert (calls.syncfs_calls, len(calls.fsynced)) == (1, 0)


def test_few_files_are_synced_on_their_own(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    assert sync(directory, FEW) == []
    assert (calls.syncfs_calls, len(calls.fsynced)) == (0, FEW)


def test_if_all_of_them_cannot_be_synced_each_is(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch, answer=-1)
    assert sync(directory, FEW + 1) == []
    assert (calls.syncfs_calls, len(calls.fsynced)) == (1, FEW + 1)


@pytest.mark.parametrize("why", ["not local", "old kernel"])
def test_where_errors_are_not_reported_each_file_is_synced(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    calls = Calls(monkeypatch, local=why != "not local")
    if why == "old kernel":
        monkeypatch.setattr(durability, "_kernel", lambda: (5, 7))
    sync(directory, FEW + 1)
    assert (calls.syncfs_calls, len(calls.fsynced)) == (0, FEW + 1)


def test_an_open_file_is_synced_by_its_descriptor(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    made = create(directory, b"file")
    inode = os.fstat(made.fd).st_ino
    Durability().sync_files([made], lambda *_: None)
    made.remove()
    assert calls.fsynced == [inode]


def test_a_file_that_is_not_durable_fails_alone(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    made = files(directory, 2)
    os.unlink(made[0].name, dir_fd=directory.fd)
    failed: list[tuple[object, OSError]] = []
    Durability().sync_files(made, lambda file, error: failed.append((file, error)))
    assert [file for file, _ in failed] == [made[0]]


@pytest.mark.parametrize("count", [1, FEW + 1])
def test_directories_are_made_durable(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    calls = Calls(monkeypatch)
    for number in range(count):
        (tmp_path / str(number)).mkdir()
    several = [directory.child(b"%d" % number) for number in range(count)]
    made = Durability()
    made.register(directory)
    failed: list[tuple[object, OSError]] = []
    made.sync_directories(several, lambda each, error: failed.append((each, error)))
    made.sync_everything()
    assert made.covers(directory)
    made.close()
    assert failed == []
    assert not made.covers(directory)
    assert (calls.syncfs_calls - 1, len(calls.fsynced)) == ((0, 1) if count == 1 else (1, 0))


def test_what_cannot_be_made_durable_at_once_is_an_error(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    Calls(monkeypatch, answer=-1)
    made = Durability()
    made.register(directory)
    with pytest.raises(OSError, match=r".*"):
        made.sync_everything()
    made.close()


@pytest.mark.parametrize(("number", "told"), [(13, []), (22, []), (5, [5])])
def test_a_directory_that_cannot_be_synced_is_named_if_that_is_a_failure(
    directory: Directory, monkeypatch: pytest.MonkeyPatch, number: int, told: list[int]
) -> None:
    made = Durability()
    made.register(directory)

    def refuse(_: Directory) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Directory, "readable", refuse)
    failed: list[tuple[object, OSError]] = []
    made.sync_directories([directory], lambda each, error: failed.append((each, error)))
    made.close()
    assert failures(failed) == told


def test_this_kernel_and_file_system_are_known(directory: Directory) -> None:
    """Not with fakes: the numbers are those of the machine."""
    made = Durability()
    made.register(directory)
    made.register(directory)
    made.sync_everything()
    made.sync_files(files(directory, FEW + 1), lambda *_: pytest.fail("not synced"))
    made.close()


def test_a_device_that_holds_nothing_back_needs_no_sync(tmp_path: Path) -> None:
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as directory:
        device = Temporary(directory, b"null", b"null", os.open("/dev/null", os.O_RDWR))
        Durability().sync_files([device], lambda _, error: pytest.fail(str(error)))
        device.close()
