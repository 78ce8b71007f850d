"""An id is called new without a query only if the database would say so, whatever clocks, retention and restarts do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farhand_server.history import ForgottenRun, History, KnownRun, UnknownRun, recent_ids, retention
from farhand_server.history.recent_ids import MAX_KNOWN_IDS, RecentIds, last_id
from farhand_server.history.retention import HORIZON_SLACK
from tests.support.history import EXITED, HistoryDirectory, record, uuid4, uuid7

NOW = 1_800_000_000.0
YEAR = 365 * 86400.0


def queries(directory: HistoryDirectory, history: History, look_up: Callable[[], object]) -> int:
    """Return how many statements a look-up has executed."""
    statements: list[str] = []
    db = directory.connection(history)
    db.set_trace_callback(statements.append)
    look_up()
    db.set_trace_callback(None)
    return len(statements)


class TestWhatIsNew:
    def test_ids_above_the_floor_that_are_not_known_are_new(self) -> None:
        ids = RecentIds(NOW, [uuid7(NOW + 5)])
        assert ids.is_new(uuid7(NOW + 1))
        assert ids.is_new(uuid7(NOW + 5, 1))
        assert ids.is_new(uuid7(NOW + YEAR))
        assert not ids.is_new(uuid7(NOW + 5))

    def test_an_id_is_not_new_once_it_was_added(self) -> None:
        ids = RecentIds(NOW)
        ids.add(uuid7(NOW + 1))
        assert not ids.is_new(uuid7(NOW + 1))

    @pytest.mark.parametrize("id", [uuid7(NOW), uuid7(NOW - 1), uuid7(0), uuid4(1), uuid4(0xFFFFFFFF)])
    def test_old_ids_and_those_of_other_versions_are_looked_up(self, id: str) -> None:
        assert not RecentIds(NOW).is_new(id)

    def test_ids_that_may_have_expired_are_looked_up(self) -> None:
        ids = RecentIds(NOW)
        ids.expire(NOW + 10.001)
        ids.expire(NOW)
        assert not ids.is_new(uuid7(NOW + 10.001, 0xFFF))
        assert ids.is_new(uuid7(NOW + 11))

    def test_no_more_than_the_bound_are_kept_and_the_floor_rises_over_those_dropped(self) -> None:
        ids, used = RecentIds(NOW), [uuid7(NOW + 1 + number / 1000) for number in range(3 * MAX_KNOWN_IDS)]
        for id in used:
            ids.add(id)
        assert not any(map(ids.is_new, used))
        assert ids.is_new(uuid7(NOW + 1 + 3 * MAX_KNOWN_IDS / 1000))
        assert not ids.is_new(uuid7(NOW + 0.5))

    @given(st.floats(0, 2**49 / 1000), st.integers(-1, 1))
    def test_the_last_id_of_a_time_is_not_below_any_id_of_it(self, created: float, later: int) -> None:
        milliseconds = int(created * 1000) + later
        if 0 <= milliseconds < 1 << 48 and milliseconds / 1000 <= created:
            digits = f"{milliseconds:012x}"
            assert last_id(created) >= f"{digits[:8]}-{digits[8:]}-7fff-bfff-ffffffffffff"


class TestInAHistory:
    def test_a_new_id_costs_no_query(self, directory: HistoryDirectory) -> None:
        history = directory.open()
        assert queries(directory, history, lambda: history.look_up(directory.new_id(), "ada")) == 0
        id = directory.run(history, directory.new_id())
        assert queries(directory, history, lambda: history.look_up(id, "ada")) > 0
        assert isinstance(history.look_up(id, "ada"), KnownRun)

    def test_ids_of_a_client_with_a_fast_clock_are_known_after_a_restart(self, directory: HistoryDirectory) -> None:
        history = directory.open()
        ahead, forgotten = uuid7(directory.clock.wall() + 600), uuid7(directory.clock.wall() + 601)
        directory.run(history, ahead)
        retention.remember_id(directory.connection(history), forgotten, "ada")
        directory.crash(history)
        history = directory.open()
        assert isinstance(history.look_up(ahead, "ada"), KnownRun)
        assert isinstance(history.look_up(forgotten, "ada"), ForgottenRun)
        other = uuid7(directory.clock.wall() + 600.5)
        assert queries(directory, history, lambda: history.look_up(other, "ada")) == 0

    def test_an_id_is_not_new_once_its_time_has_expired(self, directory: HistoryDirectory) -> None:
        history, unused = directory.open(max_runs=1), directory.new_id(1)
        directory.clock.advance(1)
        directory.run(history, directory.new_id())
        assert history.look_up(unused, "ada") == UnknownRun()
        directory.clock.advance(2 * HORIZON_SLACK)
        directory.prune(history)
        assert isinstance(history.look_up(unused, "ada"), ForgottenRun)

    def test_of_very_many_ids_from_the_future_all_count_after_a_restart(
        self, directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recent_ids, "MAX_KNOWN_IDS", 20)
        history = directory.open()
        ids = [directory.run(history, uuid7(directory.clock.wall() + 600 + number)) for number in range(50)]
        directory.crash(history)
        history = directory.open()
        assert all(isinstance(history.look_up(id, "ada"), KnownRun) for id in ids)
        assert history.look_up(uuid7(directory.clock.wall() + 1), "ada") == UnknownRun()

    def test_an_id_whose_start_was_not_written_is_looked_up_and_may_be_used(self, directory: HistoryDirectory) -> None:
        history, id = directory.open(), directory.new_id()
        other = sqlite3.connect(directory.file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        history.starting(record(id))
        with pytest.raises(Exception, match="locked"):
            history.flush()
        other.close()
        assert history.look_up(id, "ada") == UnknownRun()
        directory.run(history, id)
        assert isinstance(history.look_up(id, "ada"), KnownRun)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
    @given(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["run", "run", "run", "start", "advance", "jump", "crash", "close", "reboot", "prune"]),
                st.sampled_from([-2 * YEAR, -5000.0, -1.0, -0.001, 0.0, 0.001, 1.0, 60.0, 5000.0, 2 * YEAR]),
                st.integers(0, 3),
            ),
            max_size=25,
        )
    )
    def test_what_is_called_new_is_new_to_the_database(
        self, directory: HistoryDirectory, steps: list[tuple[str, float, int]]
    ) -> None:
        bounds = {"max_runs": 3, "max_age": 86400}
        directory.file.unlink(missing_ok=True)
        history, started, asked = directory.open(**bounds), set[str](), set[str]()
        for step, seconds, number in steps:
            clock = directory.clock
            match step:
                case "run" | "start":
                    id = uuid7(clock.wall() + seconds, number) if number < 3 else uuid4(len(asked))
                    asked |= {id, uuid7(clock.wall() + seconds, number + 4)}
                    if history.look_up(id, "ada") == UnknownRun():
                        assert id not in started, "an id was new a second time"
                        started.add(id)
                        history.starting(record(id, at=clock.wall()))
                        if step == "run":
                            history.ended(id, EXITED, stdout=0, stderr=0, duration=0.0)
                        history.flush()
                case "advance":
                    clock.advance(abs(seconds))
                case "jump":
                    clock.jump(seconds)
                case "prune":
                    directory.prune(history)
                case "reboot" | "crash":
                    directory.crash(history)
                    if step == "reboot":
                        clock.reboot(abs(seconds))
                    history = directory.open(**bounds)
                case "close":
                    directory.close(history)
                    history = directory.open(**bounds)
            history.flush()
            looked = sqlite3.connect(directory.file)
            for id in asked:
                found = history.look_up(id, "ada")
                if found == UnknownRun():
                    assert looked.execute("SELECT count(*) FROM record WHERE id = ?", (id,)).fetchone() == (0,)
                    assert retention.look_up_deleted(looked, id, "ada") == UnknownRun()
            looked.close()
        directory.close(history)
