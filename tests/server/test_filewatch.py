"""Whatever removes or replaces a watched file is reported, and what happens beside it is not."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from farhand_server import filewatch
from farhand_server.filewatch import FileWatch, parse_events
from farhand_server.logs import Logger, LogSink
from tests.support.client import TIMEOUT
from tests.support.history import LogFile

LOG = Logger(LogSink(), {})


class Watched:
    """A watched file, DIRECTORY/run/farhand/s."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "run/farhand/s"
        self.file.parent.mkdir(parents=True)
        self.file.touch()
        self.reports = 0
        self._reported = asyncio.Event()
        self.watch = FileWatch([self.file, directory / "run/farhand/other"], self._report, LOG)

    def _report(self) -> None:
        self.reports += 1
        self._reported.set()

    async def reported(self) -> None:
        """Wait for the next report."""
        async with asyncio.timeout(TIMEOUT):
            await self._reported.wait()
        self._reported.clear()


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    one = Watched(tmp_path)
    yield one
    one.watch.close()


def remove_file(watched: Watched) -> None:
    watched.file.unlink()


def replace_file(watched: Watched) -> None:
    (watched.directory / "new").touch()
    (watched.directory / "new").rename(watched.file)


def move_file(watched: Watched) -> None:
    watched.file.rename(watched.directory / "old")


def forbid(watched: Watched) -> None:
    watched.file.parent.chmod(0)


def remove_everything(watched: Watched) -> None:
    watched.file.unlink()
    watched.file.parent.rmdir()
    watched.file.parent.parent.rmdir()


def move_directory(watched: Watched) -> None:
    watched.file.parent.rename(watched.directory / "old")


def move_directory_above(watched: Watched) -> None:
    (watched.directory / "run").rename(watched.directory / "old")


CHANGES = [
    remove_file,
    replace_file,
    move_file,
    forbid,
    remove_everything,
    move_directory,
    move_directory_above,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_every_way_to_lose_a_file_is_reported(watched: Watched, change: Callable[[Watched], None]) -> None:
    change(watched)
    await watched.reported()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_file_that_comes_back_is_reported(watched: Watched, change: Callable[[Watched], None]) -> None:
    change(watched)
    await watched.reported()
    for directory in (watched.directory / "run", watched.file.parent):
        if not directory.exists():
            directory.mkdir()
            await watched.reported()
    watched.file.parent.chmod(0o700)
    watched.file.unlink(missing_ok=True)
    watched.file.touch()
    await watched.reported()


@pytest.fixture
def without_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may mount something in this moment, which is reported to everybody."""
    monkeypatch.setattr(FileWatch, "_mounts_changed", lambda watch: None)


@pytest.mark.usefixtures("without_mounts")
async def test_other_files_are_not_reported(watched: Watched) -> None:
    (watched.file.parent / "neighbour").touch()
    (watched.directory / "run/x").mkdir()
    (watched.directory / "run/x").rmdir()
    (watched.file.parent / "neighbour").unlink()
    watched.file.unlink()
    await watched.reported()
    assert watched.reports == 1


async def test_a_file_that_never_existed_is_awaited(tmp_path: Path) -> None:
    appeared = asyncio.Event()
    watch = FileWatch([tmp_path / "a/b/c"], appeared.set, LOG)
    async with asyncio.timeout(TIMEOUT):
        for place in ("a", "a/b"):
            (tmp_path / place).mkdir()
            await appeared.wait()
            appeared.clear()
        (tmp_path / "a/b/c").touch()
        await appeared.wait()
    watch.close()


@pytest.mark.needs("root", "mount", "umount")
async def test_a_file_system_mounted_over_the_file_is_reported(watched: Watched) -> None:
    for command in (("mount", "-t", "tmpfs", "none"), ("umount",)):
        process = await asyncio.create_subprocess_exec(*command, watched.directory / "run")
        assert await process.wait() == 0
        await watched.reported()


async def test_a_closed_watch_reports_nothing(watched: Watched) -> None:
    watched.watch.close()
    watched.watch.close()
    watched.file.unlink()
    for _ in range(5):
        await asyncio.sleep(0)
    assert watched.reports == 0


@pytest.fixture
def unwatchable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogFile]:
    """The log of a process that has no watches left."""

    def refuse() -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(filewatch, "_inotify_init", refuse)
    log = LogFile(tmp_path)
    yield log
    log.close()


async def test_without_watches_the_log_says_what_remains(tmp_path: Path, unwatchable: LogFile) -> None:
    FileWatch([tmp_path / "s"], lambda: None, unwatchable.logger).close()
    assert 'level=warning msg="the removal of files will not be noticed; a reload checks them"' in str(unwatchable)
    assert 'reason="Too many open files"' in str(unwatchable)


@pytest.mark.needs("root", "mount", "umount")
async def test_without_watches_mounts_are_still_noticed_and_the_log_says_it_once(
    tmp_path: Path, unwatchable: LogFile
) -> None:
    changed = asyncio.Event()
    watch = FileWatch([tmp_path / "s"], changed.set, unwatchable.logger)
    for command in (("mount", "-t", "tmpfs", "none"), ("umount",)):
        changed.clear()
        process = await asyncio.create_subprocess_exec(*command, tmp_path)
        assert await process.wait() == 0
        async with asyncio.timeout(TIMEOUT):
            await changed.wait()
    watch.close()
    assert str(unwatchable).count("level=warning") == 1


def test_events_are_read_one_after_the_other() -> None:
    one = b"\1\0\0\0" + b"\0\2\0\0" + bytes(4) + b"\4\0\0\0" + b"s\0\0\0"
    two = b"\2\0\0\0" + b"\0\4\0\0" + bytes(4) + bytes(4)
    assert parse_events(one + two) == [(1, 0x200, b"s"), (2, 0x400, b"")]
    assert parse_events(b"") == []
