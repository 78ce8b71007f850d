"""On a state directory that is full, read-only or damaged, runs that cannot be recorded are refused, with a reason."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from farhand_server.credentials import Credentials
from farhand_server.history import ForgottenRun, History, HistoryError, KnownRun, StateDirectoryInUse, UnknownRun, store
from farhand_server.history.writer import MAX_PENDING_CHANGES, PRUNE_EVERY
from tests.support.acting import acting_as
from tests.support.history import EXITED, HistoryDirectory, LogFile, record, running, uuid4, uuid7


@pytest.fixture
def small_disk(tmp_path: Path, log: LogFile) -> Iterator[HistoryDirectory]:
    """A history on a file system of 1 MiB, if the tests may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"needs a mount: {made.stderr.decode()}")
    directory = HistoryDirectory(disk, log)
    try:
        yield directory
        directory.close_all()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(directory: Path) -> Path:
    """Fill a file system with a file; return its path."""
    filler = directory / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def start(history: History, id: str) -> bool:
    """Record the start of a run; return whether it may be started."""
    history.starting(record(id, request=b"x" * 8000))
    try:
        history.flush()
    except HistoryError as error:
        return id not in error.ids
    return True


@pytest.mark.needs("root", "mount", "umount")
class TestFull:
    def test_starts_are_refused_and_ends_wait_until_there_is_room_again(self, small_disk: HistoryDirectory) -> None:
        history = small_disk.open()
        assert start(history, uuid4(1))
        filler = fill(small_disk.state.parent)
        number = 2
        while start(history, uuid4(number)):
            number += 1
        refused = uuid4(number)
        history.ended(uuid4(1), EXITED, stdout=0, stderr=0, duration=1)
        history.flush()
        assert history.look_up(refused, "ada") == UnknownRun()
        found = history.find(uuid4(1))
        assert found is not None
        assert found.outcome == EXITED
        assert len(running(history)) == number - 2
        filler.unlink()
        assert start(history, refused)
        small_disk.crash(history)
        history = small_disk.open()
        state = history.look_up(uuid4(1), "ada")
        assert isinstance(state, KnownRun)
        assert state.record.outcome == EXITED
        assert str(small_disk.log).count("history cannot be used") == 1
        assert "disk is full" in str(small_disk.log)
        assert "history can be written again" in str(small_disk.log)

    def test_a_history_on_a_full_disk_is_opened_once_there_is_room(
        self, small_disk: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "RETRY_OPEN", 0.0)
        history = small_disk.open()
        ended, unfinished = small_disk.run(history, uuid4(1)), uuid4(2)
        assert start(history, unfinished)
        small_disk.crash(history)
        filler, opened = fill(small_disk.state.parent), list[tuple[str, ...]]()
        history = small_disk.open()
        history.on_opened = lambda: opened.append(tuple(lost.id for lost in history.lost))
        assert not history.try_open()
        assert history.fault is not None
        assert "history.db cannot be used: " in history.fault
        assert not start(history, uuid4(3))
        for look in (lambda: history.look_up(ended, "ada"), history.recent, lambda: history.recent("ada", prefix="0")):
            with pytest.raises(HistoryError, match=r"cannot be used: .*; a run whose start"):
                look()
        assert history.dirty, "so that the group commit tries again"
        filler.unlink()
        history.flush()
        assert opened == [(unfinished,)]
        assert isinstance(history.look_up(ended, "ada"), KnownRun)
        assert start(history, uuid4(3))
        assert "history cannot be opened; no run is started until it can" in str(small_disk.log)
        assert "history can be used again" in str(small_disk.log)

    def test_many_attempts_to_start_do_not_open_it_each_time(self, small_disk: HistoryDirectory) -> None:
        small_disk.state.mkdir()
        filler = fill(small_disk.state.parent)
        history = small_disk.open()
        filler.unlink()
        assert not history.try_open()

    def test_ends_of_runs_that_an_upgrade_has_kept_wait_until_it_is_opened(
        self, small_disk: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "RETRY_OPEN", 0.0)
        history = small_disk.open()
        assert start(history, uuid4(1))
        lock = history.hand_over()
        small_disk.forget(history)
        filler = fill(small_disk.state.parent)
        history = small_disk.open(resume=lock)
        history.ended(uuid4(1), EXITED, stdout=0, stderr=0, duration=1)
        history.flush()
        filler.unlink()
        history.flush()
        found = history.look_up(uuid4(1), "ada")
        assert isinstance(found, KnownRun)
        assert found.record.outcome == EXITED
        for number in range(PRUNE_EVERY):
            small_disk.run(history, uuid4(100 + number))
        assert isinstance(history.look_up(uuid4(1), "ada"), KnownRun), "its age is counted from now"

    def test_what_could_never_be_written_is_counted_at_the_end(self, small_disk: HistoryDirectory) -> None:
        history = small_disk.open()
        lock = history.hand_over()
        small_disk.forget(history)
        fill(small_disk.state.parent)
        history = small_disk.open(resume=lock)
        history.ended(uuid4(1), EXITED, stdout=0, stderr=0, duration=1)
        small_disk.close(history)
        assert "history is incomplete: ends of runs could not be written" in str(small_disk.log)

    def test_if_the_history_is_not_required_runs_start_and_are_recorded_later(
        self, small_disk: HistoryDirectory
    ) -> None:
        history = small_disk.open(required=False)
        filler = fill(small_disk.state.parent)
        for number in range(30):
            assert start(history, uuid4(number))
        assert isinstance(history.look_up(uuid4(29), "ada"), KnownRun)
        filler.unlink()
        history.flush()
        assert not history.dirty


class Writable(HistoryDirectory):
    """A history whose database refuses to grow, or to be written at all, on request."""

    def refuse(self, history: History, *, all: bool) -> None:
        db = self.connection(history)
        if all:
            db.execute("PRAGMA query_only = ON")
        else:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages}")

    def allow(self, history: History) -> None:
        self.connection(history).execute("PRAGMA query_only = OFF")
        self.connection(history).execute("PRAGMA max_page_count = 1000000")


@pytest.fixture
def writable(tmp_path: Path, log: LogFile) -> Iterator[Writable]:
    directory = Writable(tmp_path, log)
    yield directory
    for history in directory.opened:
        directory.allow(history)
    directory.close_all()


def test_a_failed_commit_refuses_all_of_its_starts(writable: Writable) -> None:
    history = writable.open()
    writable.refuse(history, all=False)
    for number in range(3):
        history.starting(record(uuid4(number), request=b"x" * 8000))
    with pytest.raises(
        HistoryError, match=r"history\.db cannot be used: database or disk is full; a run whose"
    ) as error:
        history.flush()
    assert error.value.ids == {uuid4(number) for number in range(3)}
    assert history.recent() == ([], None)


def test_reads_see_an_end_that_could_not_be_written_yet(writable: Writable) -> None:
    history = writable.open()
    history.starting(record(uuid4(1)))
    history.flush()
    writable.refuse(history, all=True)
    history.ended(uuid4(1), EXITED, stdout=7, stderr=0, duration=1)
    history.flush()
    found = history.find(uuid4(1))
    assert found is not None
    assert (found.outcome, found.stdout) == (EXITED, 7)
    assert running(history) == []


def test_refused_starts_do_not_count_towards_the_retention(writable: Writable) -> None:
    history = writable.open(max_runs=50)
    ids = [writable.run(history, uuid4(number)) for number in range(20)]
    writable.refuse(history, all=False)
    assert not any(start(history, uuid4(1000 + number)) for number in range(100))
    writable.allow(history)
    for number in range(20):
        writable.run(history, uuid4(2000 + number))
    assert isinstance(history.look_up(ids[0], "ada"), KnownRun)


def test_pending_changes_are_bounded_and_dropped_ones_are_counted(writable: Writable) -> None:
    history = writable.open()
    id = writable.run(history, uuid4(1))
    writable.refuse(history, all=True)
    for more in (MAX_PENDING_CHANGES + 2, 3):
        for _ in range(more):
            history.ended(id, EXITED, stdout=0, stderr=0, duration=1)
        history.flush()
    writable.allow(history)
    history.flush()
    assert 'msg="history can be written again" dropped=5' in str(writable.log)


def test_a_start_is_refused_only_while_another_program_holds_the_write_lock(directory: HistoryDirectory) -> None:
    history = directory.open()
    other = sqlite3.connect(directory.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not start(history, uuid4(1))
    other.execute("ROLLBACK")
    other.close()
    assert start(history, uuid4(1))


def test_a_directory_without_permission_is_an_error_that_says_so(directory: HistoryDirectory) -> None:
    directory.state.mkdir(mode=0o500)
    # Root may write everywhere, unless it acts with another user's rights.
    someone = acting_as(Credentials("nobody", 65534, 65534, ())) if os.geteuid() == 0 else contextlib.nullcontext()
    with someone, pytest.raises(HistoryError, match="Permission denied"):
        directory.open()


@pytest.mark.needs("root", "mount", "umount")
class TestReadOnly:
    @pytest.fixture(autouse=True)
    def read_only(self, small_disk: HistoryDirectory) -> HistoryDirectory:
        small_disk.close(small_disk.open())
        subprocess.run(["mount", "-o", "remount,ro", small_disk.state.parent], check=True)
        return small_disk

    def test_a_required_history_is_opened_once_it_can_be_written(
        self, read_only: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "RETRY_OPEN", 0.0)
        history = read_only.open()
        assert not start(history, uuid4(1))
        assert history.fault is not None
        assert "Read-only file system" in history.fault
        subprocess.run(["mount", "-o", "remount,rw", read_only.state.parent], check=True)
        assert start(history, uuid4(1))
        with pytest.raises(StateDirectoryInUse):
            read_only.open()

    def test_a_history_that_is_not_required_is_kept_in_memory(self, read_only: HistoryDirectory) -> None:
        history = read_only.open(required=False)
        id = read_only.run(history, uuid4(1))
        assert isinstance(history.look_up(id, "ada"), KnownRun)
        assert history.hand_over() is None
        read_only.forget(history)
        assert "history is kept only in memory" in str(read_only.log)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda data: b"hello, world\n" * 1000,
    "a page of zeros": lambda data: data[:4096] + bytes(4096) + data[8192:],
    "cut short": lambda data: data[: len(data) // 2],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_is_moved_aside_and_earlier_ids_expire(directory: HistoryDirectory, damage: str) -> None:
    history = directory.open()
    ids = [directory.run(history, directory.new_id(number), request=b"x" * 500) for number in range(100)]
    directory.close(history)
    data = DAMAGE[damage](directory.file.read_bytes())
    directory.file.write_bytes(data)
    history = directory.open()
    assert all(isinstance(history.look_up(id, "ada"), ForgottenRun) for id in ids)
    assert history.look_up(uuid7(directory.clock.wall() + 1), "ada") == UnknownRun()
    assert directory.state.joinpath("history.db.corrupt-1").read_bytes() == data
    assert "history was damaged and a new one was started" in str(directory.log)
    assert isinstance(history.look_up(directory.run(history, uuid7(directory.clock.wall() + 1)), "ada"), KnownRun)


def test_damage_found_while_running_loses_the_history_but_not_the_service(directory: HistoryDirectory) -> None:
    history = directory.open()
    unfinished = uuid4(0xFFFFFFFF)
    history.starting(record(unfinished))
    for number in range(100):
        directory.run(history, uuid4(number), request=b"x" * 2000)
    directory.connection(history).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = directory.file.read_bytes()
    with directory.file.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(len(data) - 8192))
    directory.connection(history).execute("PRAGMA shrink_memory")
    results = [start(history, uuid4(1000 + number)) for number in range(20)]
    assert results[-1]
    assert "history was damaged" in str(directory.log)
    history.ended(unfinished, EXITED, stdout=0, stderr=0, duration=1)
    history.flush()
    assert isinstance(history.look_up(unfinished, "ada"), ForgottenRun)


def test_missing_tables_count_as_damage(directory: HistoryDirectory) -> None:
    directory.close(directory.open())
    other = sqlite3.connect(directory.file)
    other.executescript("DROP VIEW runs; DROP TABLE record;")
    other.close()
    assert directory.open().recent() == ([], None)
    assert (directory.state / "history.db.corrupt-1").exists()


def test_only_the_last_three_damaged_files_are_kept(directory: HistoryDirectory) -> None:
    for number in range(5):
        directory.state.mkdir(exist_ok=True)
        directory.file.write_text(f"damaged {number}" * 1000)
        directory.close(directory.open())
    kept = sorted(file.name for file in directory.state.glob("*corrupt*"))
    assert kept == [f"history.db.corrupt-{number}" for number in (3, 4, 5)]


class LockedConnection(sqlite3.Connection):
    """A connection that may get no lock any more, as after a failure of fcntl(2)."""

    locked = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self.locked:
            error = sqlite3.OperationalError("locking protocol")
            error.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
            raise error
        return super().execute(sql, *parameters)


@pytest.mark.parametrize("reading", [True, False])
def test_a_connection_that_gets_no_lock_is_replaced_so_that_the_service_waits_for_it_only_once(
    directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch, reading: bool
) -> None:
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=LockedConnection))
    history = directory.open()
    before = directory.run(history, uuid4(1))
    locked = directory.connection(history)
    assert isinstance(locked, LockedConnection)
    locked.locked = True
    if reading:
        with pytest.raises(HistoryError, match="locking protocol"):
            history.find(uuid4(2))
    else:
        assert not start(history, uuid4(2))
    assert start(history, uuid4(3))
    assert isinstance(history.look_up(before, "ada"), KnownRun)
    assert history.fault is None
