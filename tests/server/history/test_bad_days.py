"""A state directory that is full, read-only or damaged: what cannot be written down is not started, and it is said."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials, acting_as
from farhand_server.history import Expired, History, HistoryError, Known, Unknown
from farhand_server.history.writer import MAX_WAITING
from tests.support.history import EXITED, Lines, Shelf, record, uuid4, uuid7


@pytest.fixture
def small_disk(tmp_path: Path, lines: Lines) -> Iterator[Shelf]:
    """A history on a file system of 1 MiB, where the tests may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"needs a mount: {made.stderr.decode()}")
    shelf = Shelf(disk, lines)
    try:
        yield shelf
        for history in list(shelf.open_ones):
            shelf.close(history)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(directory: Path) -> Path:
    """Take all that is left of a file system."""
    filler = directory / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def start(history: History, id: str) -> bool:
    """Whether a run may be started."""
    history.starting(record(id, request=b"x" * 8000))
    try:
        history.flush()
    except HistoryError as error:
        return id not in error.ids
    return True


@pytest.mark.needs("root", "mount", "umount")
class TestFull:
    def test_starts_are_refused_ends_wait_and_both_come_back(self, small_disk: Shelf) -> None:
        history = small_disk.open()
        assert start(history, uuid4(1))
        filler = fill(small_disk.state.parent)
        number = 2
        while start(history, uuid4(number)):
            number += 1
        refused = uuid4(number)
        history.ended(uuid4(1), EXITED, stdout=0, stderr=0, duration=1)
        history.flush()
        assert history.state_of(refused) == Unknown()
        found = history.find(uuid4(1))
        assert found is not None
        assert found.outcome == EXITED
        assert len(history.running()) == number - 2
        filler.unlink()
        assert start(history, refused)
        small_disk.crash(history)
        history = small_disk.open()
        state = history.state_of(uuid4(1))
        assert isinstance(state, Known)
        assert state.record.outcome == EXITED
        assert str(small_disk.lines).count("history cannot be used") == 1
        assert "disk is full" in str(small_disk.lines)
        assert "history is written again" in str(small_disk.lines)

    def test_a_disk_that_is_full_from_the_start_is_said(self, small_disk: Shelf) -> None:
        small_disk.state.mkdir()
        fill(small_disk.state)
        with pytest.raises(HistoryError, match=r"history\.db cannot be used: .*(full|No space)"):
            small_disk.open()

    def test_where_it_is_not_required_runs_start_and_are_written_down_later(self, small_disk: Shelf) -> None:
        history = small_disk.open(required=False)
        filler = fill(small_disk.state.parent)
        for number in range(30):
            assert start(history, uuid4(number))
        assert isinstance(history.state_of(uuid4(29)), Known)
        filler.unlink()
        history.flush()
        assert not history.dirty


class Writable(Shelf):
    """A history whose database refuses to grow, or to be written at all, when told to."""

    def refuse(self, history: History, *, all: bool) -> None:
        db = history._writer.db
        if all:
            db.execute("PRAGMA query_only = ON")
        else:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages}")

    def allow(self, history: History) -> None:
        history._writer.db.execute("PRAGMA query_only = OFF")
        history._writer.db.execute("PRAGMA max_page_count = 1000000")


@pytest.fixture
def writable(tmp_path: Path, lines: Lines) -> Iterator[Writable]:
    shelf = Writable(tmp_path, lines)
    yield shelf
    for history in list(shelf.open_ones):
        shelf.allow(history)
        shelf.close(history)


def test_all_starts_of_one_commit_are_refused_together(writable: Writable) -> None:
    history = writable.open()
    writable.refuse(history, all=False)
    for number in range(3):
        history.starting(record(uuid4(number), request=b"x" * 8000))
    with pytest.raises(HistoryError, match=r"history\.db cannot be used: database or disk is full; no run") as error:
        history.flush()
    assert error.value.ids == {uuid4(number) for number in range(3)}
    assert history.recent() == []


def test_an_end_that_waits_is_told_all_the_same(writable: Writable) -> None:
    history = writable.open()
    history.starting(record(uuid4(1)))
    history.flush()
    writable.refuse(history, all=True)
    history.ended(uuid4(1), EXITED, stdout=7, stderr=0, duration=1)
    history.flush()
    found = history.find(uuid4(1))
    assert found is not None
    assert (found.outcome, found.stdout) == (EXITED, 7)
    assert history.running() == []


def test_refused_starts_push_no_other_run_out(writable: Writable) -> None:
    history = writable.open(max_runs=50)
    ids = [writable.run(history, uuid4(number)) for number in range(20)]
    writable.refuse(history, all=False)
    assert not any(start(history, uuid4(1000 + number)) for number in range(100))
    writable.allow(history)
    for number in range(20):
        writable.run(history, uuid4(2000 + number))
    assert isinstance(history.state_of(ids[0]), Known)


def test_changes_that_wait_are_bounded_and_what_was_dropped_is_counted(writable: Writable) -> None:
    history = writable.open()
    id = writable.run(history, uuid4(1))
    writable.refuse(history, all=True)
    for more in (MAX_WAITING + 2, 3):
        for _ in range(more):
            history.ended(id, EXITED, stdout=0, stderr=0, duration=1)
        history.flush()
    writable.allow(history)
    history.flush()
    assert 'msg="history is written again" dropped=5' in str(writable.lines)


def test_another_program_that_writes_for_long_costs_a_refusal_and_no_more(shelf: Shelf) -> None:
    history = shelf.open()
    other = sqlite3.connect(shelf.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not start(history, uuid4(1))
    other.execute("ROLLBACK")
    other.close()
    assert start(history, uuid4(1))


def test_a_directory_without_permission_is_said(shelf: Shelf) -> None:
    shelf.state.mkdir(mode=0o500)
    # Root may write everywhere, unless it looks with another's rights.
    someone = acting_as(Credentials("nobody", 65534, 65534, ())) if os.geteuid() == 0 else contextlib.nullcontext()
    with someone, pytest.raises(HistoryError, match="Permission denied"):
        shelf.open()


@pytest.mark.needs("root", "mount", "umount")
class TestReadOnly:
    @pytest.fixture(autouse=True)
    def read_only(self, small_disk: Shelf) -> Shelf:
        small_disk.close(small_disk.open())
        subprocess.run(["mount", "-o", "remount,ro", small_disk.state.parent], check=True)
        return small_disk

    def test_it_is_said(self, read_only: Shelf) -> None:
        with pytest.raises(HistoryError, match=r"history\.db cannot be used: Read-only file system; no run is started"):
            read_only.open()

    def test_where_it_is_not_required_it_is_kept_in_memory(self, read_only: Shelf) -> None:
        history = read_only.open(required=False)
        id = read_only.run(history, uuid4(1))
        assert isinstance(history.state_of(id), Known)
        assert history.hand_over() is None
        read_only.open_ones.clear()
        assert "history is kept in memory alone" in str(read_only.lines)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no database": lambda data: b"hello, world\n" * 1000,
    "a page of zeros": lambda data: data[:4096] + bytes(4096) + data[8192:],
    "cut short": lambda data: data[: len(data) // 2],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_is_put_aside_and_ids_from_before_expire(shelf: Shelf, damage: str) -> None:
    history = shelf.open()
    ids = [shelf.run(history, shelf.new_id(number), request=b"x" * 500) for number in range(100)]
    shelf.close(history)
    data = DAMAGE[damage](shelf.file.read_bytes())
    shelf.file.write_bytes(data)
    history = shelf.open()
    assert all(isinstance(history.state_of(id), Expired) for id in ids)
    assert history.state_of(uuid7(shelf.clock.wall() + 1)) == Unknown()
    assert shelf.state.joinpath("history.db.corrupt-1").read_bytes() == data
    assert "history was damaged and is begun anew" in str(shelf.lines)
    assert isinstance(history.state_of(shelf.run(history, uuid7(shelf.clock.wall() + 1))), Known)


def test_damage_found_in_the_middle_of_work_costs_the_history_and_not_the_service(shelf: Shelf) -> None:
    history = shelf.open()
    running = uuid4(0xFFFFFFFF)
    history.starting(record(running))
    for number in range(100):
        shelf.run(history, uuid4(number), request=b"x" * 2000)
    history._writer.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = shelf.file.read_bytes()
    with shelf.file.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(len(data) - 8192))
    history._writer.db.execute("PRAGMA shrink_memory")
    results = [start(history, uuid4(1000 + number)) for number in range(20)]
    assert results[-1]
    assert "history was damaged" in str(shelf.lines)
    history.ended(running, EXITED, stdout=0, stderr=0, duration=1)
    history.flush()
    assert isinstance(history.state_of(running), Expired)


def test_tables_that_are_none_of_ours_are_damage(shelf: Shelf) -> None:
    shelf.close(shelf.open())
    other = sqlite3.connect(shelf.file)
    other.executescript("DROP VIEW runs; DROP TABLE record;")
    other.close()
    assert shelf.open().recent() == []
    assert (shelf.state / "history.db.corrupt-1").exists()


def test_damaged_files_do_not_fill_the_disk(shelf: Shelf) -> None:
    for number in range(5):
        shelf.state.mkdir(exist_ok=True)
        shelf.file.write_text(f"damaged {number}" * 1000)
        shelf.close(shelf.open())
    kept = sorted(file.name for file in shelf.state.glob("*corrupt*"))
    assert kept == [f"history.db.corrupt-{number}" for number in (3, 4, 5)]
