"""The history knows every run from before its start, by id and by owner, and other programs can read it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from farhand_server.history import ForgottenRun, History, HistoryError, KnownRun, UnknownRun, database, prefixes
from farhand_server.history.database import MIGRATIONS
from farhand_server.history.store import CHECKPOINT_EVERY
from tests.support.history import EXITED, HistoryDirectory, record, running, uuid4, uuid7


def test_a_run_is_known_from_its_start_to_after_its_end(directory: HistoryDirectory) -> None:
    history = directory.open()
    id = directory.new_id()
    assert history.look_up(id, "ada") == UnknownRun()
    asked = record(id)
    history.starting(asked)
    assert history.look_up(id, "ada") == KnownRun(asked)
    history.started(id, 4711, 99, "boot", "/sys/fs/cgroup/x")
    assert running(history) == [replace(asked, pid=4711, start_ticks=99, boot_id="boot", cgroup="/sys/fs/cgroup/x")]
    directory.clock.advance(2)
    history.ended(
        id, EXITED, stdout=3, stderr=4, duration=1.5, usage=b'{"user":0.1}', lingered=True, left_processes=b"{}"
    )
    history.flush()
    found = history.find(id)
    assert found is not None
    assert (found.outcome, found.stdout, found.stderr, found.duration) == (EXITED, 3, 4, 1.5)
    assert (found.usage, found.lingered, found.ended_at) == (b'{"user":0.1}', True, directory.clock.wall())
    assert found.left_processes == b"{}"
    assert running(history) == []


def test_a_history_of_the_first_version_is_upgraded_and_its_view_shows_left_processes(
    directory: HistoryDirectory,
) -> None:
    directory.state.mkdir()
    first = sqlite3.connect(directory.file, isolation_level=None)
    first.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    first.close()
    history = directory.open()
    id = directory.new_id()
    history.starting(record(id))
    history.ended(id, EXITED, stdout=3, stderr=4, duration=1.5, left_processes=b'{"count":1}')
    directory.close(history)
    with contextlib.closing(sqlite3.connect(directory.file)) as reader:
        assert reader.execute("SELECT id, status, left_processes FROM runs").fetchall() == [
            (id, "exited", '{"count":1}')
        ]


def test_records_and_forgotten_ids_of_an_earlier_version_are_taken_over(directory: HistoryDirectory) -> None:
    directory.state.mkdir()
    earlier = sqlite3.connect(directory.file, isolation_level=None)
    for number, step in enumerate(MIGRATIONS[:3], 1):
        earlier.executescript(f"{step} PRAGMA user_version = {number};")
    values = ", ".join(["'peer', 1.0, 1.0, 500, x'00', x'00'"])
    for number, owner in enumerate(("ada", "ada", "bob")):
        earlier.execute(
            "INSERT INTO record (id, owner, uid, how, requested_at, clock, size, request_sha256, request) "
            f"VALUES (?, ?, 1000, {values})",
            (uuid4(number), owner),
        )
    earlier.execute("INSERT INTO forgotten (id) VALUES (?)", (bytes.fromhex(uuid4(7).replace("-", "")),))
    horizon = directory.clock.wall() - 1000
    earlier.execute("UPDATE state SET records = 3, bytes = 1500, horizon = ?", (horizon,))
    earlier.close()
    history = directory.open()
    counted = directory.connection(history).execute("SELECT name, records, bytes - 17 * records, forgotten FROM owner")
    assert counted.fetchall() == [("", 0, 0, 1), ("ada", 2, 1000, 0), ("bob", 1, 500, 0)]
    askers: tuple[str | None, ...] = ("ada", "eve", None)
    for asker in askers:
        assert isinstance(history.look_up(uuid4(7), asker), ForgottenRun)
        assert isinstance(history.look_up(uuid7(horizon - 1), asker), ForgottenRun)
        assert history.look_up(uuid7(horizon + 1), asker) == UnknownRun()


def test_only_ended_records_of_an_earlier_version_stay_counted(directory: HistoryDirectory) -> None:
    directory.state.mkdir()
    earlier = sqlite3.connect(directory.file, isolation_level=None)
    for number, step in enumerate(MIGRATIONS[:4], 1):
        earlier.executescript(f"{step} PRAGMA user_version = {number};")
    for number, outcome in enumerate((None, EXITED, EXITED)):
        earlier.execute(
            "INSERT INTO record (id, owner, uid, how, requested_at, clock, size, request_sha256, request, outcome) "
            "VALUES (?, 'ada', 1000, 'peer', 1.0, 1.0, 500, x'00', x'00', ?)",
            (uuid4(number), outcome),
        )
    database.migrate(earlier)
    assert earlier.execute("SELECT records, bytes FROM owner WHERE name = 'ada'").fetchone() == (2, 1000)
    earlier.execute("DELETE FROM record WHERE id = ?", (uuid4(0),))
    earlier.execute("UPDATE record SET size = 600")
    assert earlier.execute("SELECT records, bytes FROM owner WHERE name = 'ada'").fetchone() == (2, 1200)
    earlier.execute("DELETE FROM record WHERE id = ?", (uuid4(1),))
    assert earlier.execute("SELECT records, bytes FROM owner WHERE name = 'ada'").fetchone() == (1, 600)
    earlier.close()


@pytest.mark.parametrize("page_size", [database.PAGE_SIZE, 4096])
def test_a_commit_moves_the_log_at_the_same_size_whatever_size_the_pages_have(
    directory: HistoryDirectory, page_size: int
) -> None:
    directory.state.mkdir()
    with contextlib.closing(sqlite3.connect(directory.file)) as earlier:
        earlier.execute(f"PRAGMA page_size = {page_size}")
        earlier.execute("VACUUM")
    with contextlib.closing(database.connect(directory.file)) as db:
        assert db.execute("PRAGMA page_size").fetchone() == (page_size,)
        assert db.execute("PRAGMA wal_autocheckpoint").fetchone() == (database.CHECKPOINT_SIZE // page_size,)


def test_a_program_that_ends_before_it_is_on_record_is_recorded_with_its_end(directory: HistoryDirectory) -> None:
    history, short, long = directory.open(), directory.new_id(1), directory.new_id(2)
    for id in (short, long):
        history.starting(record(id))
    history.flush()
    statements: set[str] = set()  # SQLite reports one again after its triggers
    directory.connection(history).set_trace_callback(statements.add)
    for number, id in enumerate((short, long)):
        history.started(id, 4242 + number, 7, "boot", "/cgroup", 99)
    history.ended(short, EXITED, stdout=3, stderr=4, duration=1.5)
    history.flush()
    directory.connection(history).set_trace_callback(None)
    assert sum(statement.startswith("UPDATE record") for statement in statements) == 2
    found, other = history.find(short), history.find(long)
    assert found is not None
    assert other is not None
    assert (found.pid, found.start_ticks, found.boot_id, found.cgroup, found.mark) == (4242, 7, "boot", "/cgroup", 99)
    assert (found.outcome, found.stdout, found.stderr, found.duration) == (EXITED, 3, 4, 1.5)
    assert (other.pid, other.outcome) == (4243, None)


def test_after_a_crash_exactly_the_flushed_changes_remain(directory: HistoryDirectory) -> None:
    history = directory.open()
    kept, cut = directory.new_id(1), directory.new_id(2)
    history.starting(record(kept))
    history.flush()
    history.starting(record(cut))
    directory.crash(history)
    history = directory.open()
    assert isinstance(history.look_up(kept, "ada"), KnownRun)
    assert history.look_up(cut, "ada") == UnknownRun()


def test_a_second_start_with_the_same_id_is_refused(directory: HistoryDirectory) -> None:
    history = directory.open()
    id = directory.run(history, directory.new_id())
    history.starting(record(id, owner="eve"))
    with pytest.raises(HistoryError) as refusal:
        history.flush()
    assert refusal.value.ids == {id}
    found = history.find(id)
    assert found is not None
    assert found.owner == "ada"


def page(history: History, owner: str | None = None, **asked: Any) -> tuple[list[str], str | None]:
    """Return the ids of a page, and what `before` is for the next one."""
    found, more = history.recent(owner, **asked)
    return [one.id for one in found], more


def test_recent_runs_are_listed_newest_first_in_pages(directory: HistoryDirectory) -> None:
    history = directory.open()
    ids = [directory.run(history, uuid4(number), owner="ada" if number % 2 else "eve") for number in range(6)]
    assert page(history, limit=4) == (ids[:1:-1], ids[2])
    assert page(history, limit=4, before=ids[2]) == ([ids[1], ids[0]], None)
    assert page(history, "eve") == ([ids[4], ids[2], ids[0]], None)
    assert page(history, prefix=ids[3]) == ([ids[3]], None)
    assert page(history, prefix=ids[0][:2], limit=2) == (ids[:3:-1], ids[4])
    assert page(history, prefix="f") == page(history, "nobody", prefix=ids[3]) == ([], None)


def test_no_page_looks_through_many_runs_for_those_with_a_prefix(
    directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefixes, "FEW_RUNS", 2)
    monkeypatch.setattr(prefixes, "LOOKED_THROUGH", 5)
    history = directory.open()
    wanted = [directory.run(history, uuid4(number)) for number in range(4)]
    for number in range(4, 16):
        directory.run(history, "f" + uuid4(number)[1:], owner="eve")
    for owner in (None, "ada"):
        pages, before = list[list[str]](), None
        while not pages or before is not None:
            found, before = page(history, owner, prefix="0", before=before, limit=3)
            pages.append(found)
        assert pages == [[], [], wanted[:0:-1], wanted[:1]]


def test_runs_are_ordered_by_start_even_if_the_clock_goes_back(directory: HistoryDirectory) -> None:
    history = directory.open()
    first = directory.run(history, uuid4(2))
    directory.clock.jump(-1e6)
    second = directory.run(history, uuid4(1))
    assert page(history) == ([second, first], None)


def test_other_programs_can_read_the_view_runs_while_it_is_open(directory: HistoryDirectory) -> None:
    history = directory.open()
    ended, unfinished = directory.run(history, uuid4(1), request=b'{"argv":["echo","\xc3\xa9"]}'), uuid4(2)
    history.starting(record(unfinished))
    history.flush()
    other = sqlite3.connect(f"file:{directory.file}?mode=ro", uri=True)
    rows = other.execute("SELECT id, owner, status, code, request, stdout_bytes, requested FROM runs").fetchall()
    other.close()
    assert rows[0][:6] == (ended, "ada", "exited", 0, '{"argv":["echo","é"]}', 1)
    assert rows[1][:4] == (unfinished, "ada", "running", None)
    assert rows[0][6] == "2027-01-15T08:00:00Z"


def test_only_the_services_account_can_read_it(directory: HistoryDirectory) -> None:
    directory.open()
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in directory.state.iterdir()}
    assert modes == dict.fromkeys(("history.db", "history.db-wal", "history.db-shm", "history.lock"), "0o600")
    assert directory.state.stat().st_mode & 0o777 == 0o700


def test_a_database_of_a_later_version_is_refused_and_left_alone(directory: HistoryDirectory) -> None:
    directory.close(directory.open())
    other = sqlite3.connect(directory.file)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(HistoryError, match=r"later farhandd .* version is 99"):
        directory.open()
    assert [file.name for file in directory.state.glob("*corrupt*")] == []


def test_the_write_ahead_log_can_be_checkpointed_while_in_use(directory: HistoryDirectory) -> None:
    history = directory.open()
    for number in range(CHECKPOINT_EVERY // 2):
        assert not history.checkpoint_due
        directory.run(history, uuid4(number))
    size = directory.file.stat().st_size
    due = [history.checkpoint_due]
    history.checkpoint()
    assert [*due, history.checkpoint_due] == [True, False]
    assert directory.file.stat().st_size > size
    assert isinstance(history.look_up(uuid4(1), "ada"), KnownRun)


def test_the_write_ahead_log_shrinks_again_after_a_long_read(
    directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MAX_IDLE_LOG", 256 << 10)
    history = directory.open()
    directory.run(history, directory.new_id())
    log = directory.file.with_name("history.db-wal")
    with contextlib.closing(sqlite3.connect(directory.file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM record").fetchall()
        for number in range(40):
            directory.run(history, directory.new_id(1 + number), request=b"x" * 30_000)
        history.checkpoint()
        assert log.stat().st_size > 1 << 20, "another program is still reading"
    history.checkpoint()
    directory.run(history, directory.new_id(1000))
    assert log.stat().st_size <= 256 << 10


def test_the_error_for_a_forgotten_run_has_the_reason(directory: HistoryDirectory) -> None:
    history = directory.open(max_runs=1)
    for number in range(40):
        directory.run(history, uuid4(number))
    state = history.look_up(uuid4(0), "ada")
    assert isinstance(state, ForgottenRun)
    assert "was already started" in state.reason
