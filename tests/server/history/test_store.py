"""The history knows every run from before its start, by id, by prefix, by owner, and so do other programs."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from farhand_server.history import Expired, HistoryError, Known, Unknown
from farhand_server.history.store import CHECKPOINT_EVERY
from tests.support.history import EXITED, Shelf, record, uuid4


def test_a_run_is_known_from_its_start_to_after_its_end(shelf: Shelf) -> None:
    history = shelf.open()
    id = shelf.new_id()
    assert history.state_of(id) == Unknown()
    asked = record(id)
    history.starting(asked)
    assert history.state_of(id) == Known(asked)
    history.started(id, 4711, 99, "boot", "/sys/fs/cgroup/x")
    assert history.running() == [replace(asked, pid=4711, start_ticks=99, boot_id="boot", cgroup="/sys/fs/cgroup/x")]
    shelf.clock.passes(2)
    history.ended(id, EXITED, stdout=3, stderr=4, duration=1.5, usage=b'{"user":0.1}', lingered=True)
    history.flush()
    found = history.find(id)
    assert found is not None
    assert (found.outcome, found.stdout, found.stderr, found.duration) == (EXITED, 3, 4, 1.5)
    assert (found.usage, found.lingered, found.ended_at) == (b'{"user":0.1}', True, shelf.clock.wall())
    assert history.running() == []


def test_what_was_flushed_is_there_after_a_crash_and_what_was_not_is_not(shelf: Shelf) -> None:
    history = shelf.open()
    kept, cut = shelf.new_id(1), shelf.new_id(2)
    history.starting(record(kept))
    history.flush()
    history.starting(record(cut))
    shelf.crash(history)
    history = shelf.open()
    assert isinstance(history.state_of(kept), Known)
    assert history.state_of(cut) == Unknown()


def test_the_same_id_twice_is_refused_and_the_first_stays(shelf: Shelf) -> None:
    history = shelf.open()
    id = shelf.run(history, shelf.new_id())
    history.starting(record(id, owner="eve"))
    with pytest.raises(HistoryError) as refusal:
        history.flush()
    assert refusal.value.ids == {id}
    found = history.find(id)
    assert found is not None
    assert found.owner == "ada"


def test_ids_are_found_by_their_beginning_with_or_without_hyphens(shelf: Shelf) -> None:
    history = shelf.open()
    first, second = uuid4(0xABCD0001), uuid4(0xABCD0002)
    shelf.run(history, first)
    shelf.run(history, second, owner="eve")
    assert history.resolve("abcd") == [first, second]
    assert history.resolve("ABCD", limit=1) == [first]
    assert history.resolve("abcd", owner="eve") == [second]
    assert history.resolve("abcd00010000") == history.resolve("abcd0001-0000") == [first]
    assert history.resolve(second) == [second]
    for nothing in ("", "x", "abcd0003", "%", "abcd0001" * 5):
        assert history.resolve(nothing) == []


def test_the_newest_come_first_and_in_pages(shelf: Shelf) -> None:
    history = shelf.open()
    ids = [shelf.run(history, uuid4(number), owner="ada" if number % 2 else "eve") for number in range(6)]
    assert [found.id for found in history.recent(limit=4)] == ids[:1:-1]
    assert [found.id for found in history.recent(limit=4, before=ids[2])] == [ids[1], ids[0]]
    assert [found.id for found in history.recent("eve")] == [ids[4], ids[2], ids[0]]
    assert [found.id for found in history.recent(prefix=ids[3])] == [ids[3]]
    assert [found.id for found in history.recent(prefix=ids[0][:2], limit=2)] == ids[:3:-1]
    assert history.recent(prefix="f") == history.recent(prefix=ids[3], owner="nobody") == []


def test_the_order_is_that_of_the_starts_though_the_clock_goes_back(shelf: Shelf) -> None:
    history = shelf.open()
    first = shelf.run(history, uuid4(2))
    shelf.clock.step(-1e6)
    second = shelf.run(history, uuid4(1))
    assert [found.id for found in history.recent()] == [second, first]


def test_other_programs_read_it_in_plain_words_while_it_is_open(shelf: Shelf) -> None:
    history = shelf.open()
    ended, running = shelf.run(history, uuid4(1), request=b'{"argv":["echo","\xc3\xa9"]}'), uuid4(2)
    history.starting(record(running))
    history.flush()
    other = sqlite3.connect(f"file:{shelf.file}?mode=ro", uri=True)
    rows = other.execute("SELECT id, owner, status, code, request, stdout_bytes, requested FROM runs").fetchall()
    other.close()
    assert rows[0][:6] == (ended, "ada", "exited", 0, '{"argv":["echo","é"]}', 1)
    assert rows[1][:4] == (running, "ada", "running", None)
    assert rows[0][6] == "2027-01-15T08:00:00Z"


def test_others_accounts_cannot_read_it(shelf: Shelf) -> None:
    shelf.open()
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in shelf.state.iterdir()}
    assert modes == dict.fromkeys(("history.db", "history.db-wal", "history.db-shm", "history.lock"), "0o600")
    assert shelf.state.stat().st_mode & 0o777 == 0o700


def test_a_later_version_is_left_alone(shelf: Shelf) -> None:
    shelf.close(shelf.open())
    other = sqlite3.connect(shelf.file)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(HistoryError, match=r"later farhandd .* version is 99"):
        shelf.open()
    assert [file.name for file in shelf.state.glob("*corrupt*")] == []


def test_the_log_of_writes_can_be_moved_while_it_is_used(shelf: Shelf) -> None:
    history = shelf.open()
    for number in range(CHECKPOINT_EVERY // 2):
        assert not history.checkpoint_due
        shelf.run(history, uuid4(number))
    size = shelf.file.stat().st_size
    due = [history.checkpoint_due]
    history.checkpoint()
    assert [*due, history.checkpoint_due] == [True, False]
    assert shelf.file.stat().st_size > size
    assert isinstance(history.state_of(uuid4(1)), Known)


def test_an_expired_id_says_why(shelf: Shelf) -> None:
    history = shelf.open(max_runs=1)
    for number in range(40):
        shelf.run(history, uuid4(number))
    state = history.state_of(uuid4(0))
    assert isinstance(state, Expired)
    assert "started before" in state.reason
