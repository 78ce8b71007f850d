"""Ended runs are deleted by age, number and size, nobody's for the sake of another's beyond a fair share; a deleted id
never counts as new, whatever the clock does."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farhand_server.config import HistorySettings
from farhand_server.history import ForgottenRun, History, KnownRun, UnknownRun, retention
from farhand_server.history.retention import HORIZON_SLACK
from farhand_server.history.writer import PRUNE_EVERY, SAVE_EVERY
from tests.support.history import EXITED, HistoryDirectory, record, uuid4, uuid7

DAY = 86400.0


def known(history: History) -> set[str]:
    return {found.id for found in history.recent(limit=1_000_000)[0]}


def test_runs_older_than_max_age_are_forgotten(directory: HistoryDirectory) -> None:
    history = directory.open(max_age=30 * DAY)
    old, undated = directory.run(history, directory.new_id()), directory.run(history, uuid4(1))
    directory.clock.advance(29 * DAY)
    directory.prune(history)
    assert {old, undated} <= known(history)
    directory.clock.advance(2 * DAY)
    directory.prune(history)
    assert not {old, undated} & known(history)
    assert isinstance(history.look_up(old, "ada"), ForgottenRun)
    assert isinstance(history.look_up(undated, "ada"), ForgottenRun)
    assert history.look_up(directory.new_id(), "ada") == UnknownRun()
    assert history.look_up(uuid4(2), "ada") == UnknownRun()


def test_age_is_counted_from_the_end(directory: HistoryDirectory) -> None:
    history = directory.open(max_age=30 * DAY)
    long = directory.new_id()
    history.starting(record(long))
    directory.clock.advance(60 * DAY)
    directory.prune(history)
    history.ended(long, EXITED, stdout=0, stderr=0, duration=60 * DAY)
    directory.prune(history)
    assert isinstance(history.look_up(long, "ada"), KnownRun)


def test_at_most_max_runs_ended_runs_are_kept_and_all_unfinished_ones(directory: HistoryDirectory) -> None:
    history = directory.open(max_runs=50)
    unfinished = directory.new_id(1000)
    history.starting(record(unfinished))
    ids = [directory.run(history, directory.new_id(number)) for number in range(200)]
    kept = known(history)
    assert 50 <= len(kept) <= 50 + retention.PRUNE_SLICE
    assert kept == {unfinished, *ids[201 - len(kept) :]}
    assert all(isinstance(history.look_up(id, "ada"), ForgottenRun) for id in ids[: 201 - len(kept)])


def test_at_most_max_size_bytes_of_records_are_kept(directory: HistoryDirectory) -> None:
    history = directory.open(max_size=1 << 20)
    for number in range(200):
        directory.run(history, directory.new_id(number), request=b"x" * 20_000)
    assert 40 <= len(known(history)) <= 52 + retention.PRUNE_SLICE


def test_one_flush_deletes_at_most_a_slice(directory: HistoryDirectory) -> None:
    history = directory.open()
    for number in range(300):
        directory.run(history, uuid4(number))
    directory.close(history)
    history = directory.open(max_runs=1)
    assert len(known(history)) == 300 - retention.PRUNE_SLICE


def test_the_totals_survive_a_crash(directory: HistoryDirectory) -> None:
    history = directory.open(max_runs=50)
    ids = [directory.run(history, directory.new_id(number)) for number in range(100)]
    directory.crash(history)
    history = directory.open(max_runs=50)
    assert isinstance(history.look_up(ids[0], "ada"), ForgottenRun)
    assert len(known(history)) <= 50 + retention.PRUNE_SLICE


def of(history: History, owner: str) -> list[str]:
    return [found.id for found in history.recent(owner, limit=1_000_000)[0]]


class TestShares:
    """Ada and Bob keep what they have within their share, whatever Eve does."""

    @pytest.mark.parametrize("bound", [{"max_runs": 300}, {"max_size": 1 << 20}], ids=["records", "bytes"])
    def test_the_owner_with_the_most_loses_records_and_nobody_else(
        self, directory: HistoryDirectory, bound: dict[str, int]
    ) -> None:
        history = directory.open(**bound)
        ada = [directory.run(history, directory.new_id(number), owner="ada") for number in range(40)]
        bob = [directory.run(history, directory.new_id(100 + number), owner="bob") for number in range(60)]
        eve = [
            directory.run(history, directory.new_id(1000 + number), owner="eve", request=b"x" * 10_000)
            for number in range(400)
        ]
        assert (of(history, "ada"), of(history, "bob")) == (ada[::-1], bob[::-1])
        kept = of(history, "eve")
        assert 0 < len(kept) < 300
        assert kept == eve[: -len(kept) - 1 : -1], "her own oldest went first"

    def test_what_is_free_may_be_used_and_is_given_back(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=200)
        for number in range(200):
            directory.run(history, directory.new_id(number), owner="eve")
        assert len(of(history, "eve")) == 200
        for number in range(100):
            directory.run(history, directory.new_id(1000 + number), owner="ada")
        assert len(of(history, "ada")) == 100
        assert 100 <= len(of(history, "eve")) <= 100 + retention.PRUNE_SLICE

    def test_a_smaller_bound_takes_from_each_only_what_is_beyond_the_new_share(
        self, directory: HistoryDirectory
    ) -> None:
        history = directory.open(max_runs=75)
        for number in range(75):
            directory.run(history, directory.new_id(number), owner=["ada", "bob", "eve"][number % 3])
        history.configure(HistorySettings(max_runs=60))
        for number in range(2 * PRUNE_EVERY):
            directory.run(history, directory.new_id(1000 + number), owner="new")
        assert min(len(of(history, owner)) for owner in ("ada", "bob", "eve")) >= 60 // 4

    def test_runs_that_have_not_ended_cost_nobody_else_a_record(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=50)
        ada = [directory.run(history, directory.new_id(number), owner="ada") for number in range(25)]
        for number in range(100):
            history.starting(record(directory.new_id(1000 + number), owner="eve"))
            history.flush()
        assert of(history, "ada") == ada[::-1]

    def test_what_one_owner_has_lost_does_not_touch_the_ids_of_others(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=100)
        ids: dict[str, list[str]] = {"ada": [], "eve": []}
        for number in range(400):
            directory.clock.advance(60)
            owner = "ada" if number % 8 == 0 else "eve"
            ids[owner].append(directory.run(history, directory.new_id(number), owner=owner))
        assert of(history, "ada") == ids["ada"][::-1]
        gone = [id for id in ids["eve"] if id not in of(history, "eve")]
        assert len(gone) > 200
        assert all(isinstance(history.look_up(id, "eve"), ForgottenRun) for id in gone)
        late = uuid7(directory.clock.wall() - 300 * 60, 9999)
        assert isinstance(history.look_up(late, "eve"), ForgottenRun)
        assert history.look_up(late, "ada") == UnknownRun(), "her client was slow, and no record of hers is missing"
        assert isinstance(history.look_up(gone[0], None), ForgottenRun), "for whoever sees everybody's runs"

    def test_many_ids_that_are_kept_one_by_one_push_out_only_those_of_their_owner(
        self, directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "MAX_FORGOTTEN_IDS", 200)
        history = directory.open(max_age=60)
        ada = [directory.run(history, uuid4(number), owner="ada") for number in range(50)]
        directory.clock.advance(3600)
        eve = [directory.run(history, uuid4(1000 + number), owner="eve") for number in range(600)]
        directory.clock.advance(3600)
        for _ in range(6):
            directory.prune(history)
        assert all(isinstance(history.look_up(id, "ada"), ForgottenRun) for id in ada)
        assert history.look_up(eve[0], "eve") == UnknownRun()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
    @given(
        runs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([10, 5000]), st.booleans()), max_size=120),
        bound=st.sampled_from([{"max_runs": 30}, {"max_size": 1 << 20, "max_runs": 60}]),
    )
    def test_no_id_is_ever_new_again_for_its_owner_and_no_small_share_shrinks(
        self, directory: HistoryDirectory, runs: list[tuple[str, int, bool]], bound: dict[str, int]
    ) -> None:
        history = directory.open(**bound)
        ids: dict[str, list[str]] = {"a": of(history, "a"), "b": of(history, "b"), "c": of(history, "c")}
        for owner, size, dated in runs:
            directory.clock.advance(600)
            number = int(directory.clock.wall()) % 0xFFFFFFFF
            id = directory.new_id(number) if dated else uuid4(number)
            before = {name: of(history, name) for name in ids}
            ids[owner].append(directory.run(history, id, owner=owner, request=b"x" * size))
            share = bound["max_runs"] // 3
            for name, kept in before.items():
                assert len(kept) > share or set(kept) <= set(of(history, name))
        for owner, used in ids.items():
            assert not any(history.look_up(id, owner) == UnknownRun() for id in used)
        counted = directory.connection(history).execute("SELECT name, records, bytes, forgotten FROM owner")
        found = directory.connection(history).execute(
            "SELECT name, (SELECT count(*) FROM record WHERE owner = name), "
            "(SELECT coalesce(sum(size), 0) FROM record WHERE owner = name), "
            "(SELECT count(*) FROM forgotten WHERE owner = name) FROM owner"
        )
        assert counted.fetchall() == found.fetchall()
        directory.close(history)

    def test_the_work_does_not_grow_with_the_number_of_records(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=20)
        for number in range(40):
            directory.run(history, directory.new_id(number), owner="eve")
        db, statements = directory.connection(history), set[str]()
        db.set_trace_callback(statements.add)
        directory.prune(history)
        history.recent("eve")
        history.recent("eve", before=directory.new_id(30))
        history.recent("eve", prefix="ff")
        db.set_trace_callback(None)
        read = [one for one in statements if one.startswith(("SELECT", "DELETE", "UPDATE"))]
        assert any("DELETE FROM record" in one for one in read)
        for one in read:
            plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {one}")]
            assert not [step for step in plan if "SCAN record" in step or "SCAN forgotten" in step], one


class TestClocks:
    @pytest.mark.parametrize("step", [400 * DAY, -400 * DAY])
    def test_a_jump_of_the_wall_clock_ages_no_run(self, directory: HistoryDirectory, step: float) -> None:
        history = directory.open(max_age=30 * DAY)
        id = directory.run(history, directory.new_id())
        directory.clock.jump(step)
        directory.prune(history)
        assert isinstance(history.look_up(id, "ada"), KnownRun)
        directory.crash(history)
        history = directory.open(max_age=30 * DAY)
        directory.prune(history)
        directory.clock.jump(-step)
        directory.prune(history)
        assert isinstance(history.look_up(id, "ada"), KnownRun)
        assert history.look_up(directory.new_id(1), "ada") == UnknownRun()

    def test_the_clocks_are_saved_now_and_then_and_at_the_end(self, directory: HistoryDirectory) -> None:
        history = directory.open()
        saved = "SELECT boottime FROM state"
        before = directory.connection(history).execute(saved).fetchone()
        directory.clock.advance(SAVE_EVERY - 2)
        directory.run(history, directory.new_id(1))
        assert directory.connection(history).execute(saved).fetchone() == before
        directory.clock.advance(1)
        directory.run(history, directory.new_id(2))
        (between,) = directory.connection(history).execute(saved).fetchone()
        assert between == directory.clock.boottime()
        directory.clock.advance(1)
        directory.close(history)
        with contextlib.closing(sqlite3.connect(directory.file)) as reader:
            assert reader.execute(saved).fetchone() == (directory.clock.boottime(),)

    def test_time_while_the_service_is_stopped_counts(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_age=30 * DAY)
        id = directory.run(history, directory.new_id())
        directory.close(history)
        directory.clock.advance(31 * DAY)
        assert isinstance(directory.open(max_age=30 * DAY).look_up(id, "ada"), ForgottenRun)

    def test_a_machine_that_was_off_deletes_runs_later_and_never_earlier(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_age=30 * DAY)
        id = directory.run(history, directory.new_id())
        directory.close(history)
        directory.clock.reboot(off=365 * DAY)
        history = directory.open(max_age=30 * DAY)
        assert isinstance(history.look_up(id, "ada"), KnownRun)
        directory.clock.advance(29.5 * DAY)
        directory.prune(history)
        assert isinstance(history.look_up(id, "ada"), ForgottenRun)

    def test_ids_from_the_future_expire_without_expiring_those_of_today(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=1)
        ahead = directory.run(history, uuid7(directory.clock.wall() + 400 * DAY))
        directory.prune(history)
        assert isinstance(history.look_up(ahead, "ada"), ForgottenRun)
        assert history.look_up(directory.new_id(1), "ada") == UnknownRun()

    def test_a_jump_ahead_while_runs_are_deleted_does_not_move_the_horizon_ahead(
        self, directory: HistoryDirectory
    ) -> None:
        history = directory.open(max_runs=1)
        directory.clock.jump(400 * DAY)
        ids = [directory.run(history, directory.new_id(number)) for number in range(100)]
        directory.clock.advance(2 * HORIZON_SLACK)
        directory.prune(history)
        directory.clock.jump(-400 * DAY)
        assert history.look_up(directory.new_id(1), "ada") == UnknownRun()
        assert isinstance(history.look_up(ids[0], "ada"), ForgottenRun)

    def test_a_client_whose_clock_is_slightly_slow_is_not_refused(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=1)
        for number in range(100):
            directory.clock.advance(60)
            directory.run(history, directory.new_id(number))
        assert history.look_up(uuid7(directory.clock.wall() - HORIZON_SLACK + 1, 1), "ada") == UnknownRun()


def test_forgotten_ids_are_bounded_and_the_horizon_covers_the_dropped_ones(
    directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_FORGOTTEN_IDS", 100)
    history = directory.open(max_runs=1)
    undated = directory.run(history, uuid4(1))
    ids = [directory.run(history, directory.new_id(number)) for number in range(400)]
    assert isinstance(history.look_up(ids[0], "ada"), ForgottenRun)
    assert (
        history.look_up(undated, "ada") == UnknownRun()
    )  # the cost of the bound; ids that contain a time are not affected
    assert history.look_up(uuid7(directory.clock.wall() + 1), "ada") == UnknownRun()
