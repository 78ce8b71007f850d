"""Ended runs are deleted by age, number and size; a deleted id never counts as new, whatever the clock does."""

from __future__ import annotations

import pytest

from farhand_server.history import ForgottenRun, History, KnownRun, UnknownRun, retention
from farhand_server.history.retention import HORIZON_SLACK
from tests.support.history import EXITED, HistoryDirectory, record, uuid4, uuid7

DAY = 86400.0


def known(history: History) -> set[str]:
    return {found.id for found in history.recent(limit=1_000_000)}


def test_runs_older_than_max_age_are_forgotten(directory: HistoryDirectory) -> None:
    history = directory.open(max_age=30 * DAY)
    old, undated = directory.run(history, directory.new_id()), directory.run(history, uuid4(1))
    directory.clock.advance(29 * DAY)
    directory.prune(history)
    assert {old, undated} <= known(history)
    directory.clock.advance(2 * DAY)
    directory.prune(history)
    assert not {old, undated} & known(history)
    assert isinstance(history.look_up(old), ForgottenRun)
    assert isinstance(history.look_up(undated), ForgottenRun)
    assert history.look_up(directory.new_id()) == UnknownRun()
    assert history.look_up(uuid4(2)) == UnknownRun()


def test_age_is_counted_from_the_end(directory: HistoryDirectory) -> None:
    history = directory.open(max_age=30 * DAY)
    long = directory.new_id()
    history.starting(record(long))
    directory.clock.advance(60 * DAY)
    directory.prune(history)
    history.ended(long, EXITED, stdout=0, stderr=0, duration=60 * DAY)
    directory.prune(history)
    assert isinstance(history.look_up(long), KnownRun)


def test_at_most_max_runs_ended_runs_are_kept_and_all_unfinished_ones(directory: HistoryDirectory) -> None:
    history = directory.open(max_runs=50)
    unfinished = directory.new_id(1000)
    history.starting(record(unfinished))
    ids = [directory.run(history, directory.new_id(number)) for number in range(200)]
    kept = known(history)
    assert 50 <= len(kept) <= 50 + retention.PRUNE_SLICE
    assert kept == {unfinished, *ids[201 - len(kept) :]}
    assert all(isinstance(history.look_up(id), ForgottenRun) for id in ids[: 201 - len(kept)])


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
    assert isinstance(history.look_up(ids[0]), ForgottenRun)
    assert len(known(history)) <= 50 + retention.PRUNE_SLICE


class TestClocks:
    @pytest.mark.parametrize("step", [400 * DAY, -400 * DAY])
    def test_a_jump_of_the_wall_clock_ages_no_run(self, directory: HistoryDirectory, step: float) -> None:
        history = directory.open(max_age=30 * DAY)
        id = directory.run(history, directory.new_id())
        directory.clock.jump(step)
        directory.prune(history)
        assert isinstance(history.look_up(id), KnownRun)
        directory.crash(history)
        history = directory.open(max_age=30 * DAY)
        directory.prune(history)
        directory.clock.jump(-step)
        directory.prune(history)
        assert isinstance(history.look_up(id), KnownRun)
        assert history.look_up(directory.new_id(1)) == UnknownRun()

    def test_time_while_the_service_is_stopped_counts(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_age=30 * DAY)
        id = directory.run(history, directory.new_id())
        directory.close(history)
        directory.clock.advance(31 * DAY)
        assert isinstance(directory.open(max_age=30 * DAY).look_up(id), ForgottenRun)

    def test_a_machine_that_was_off_deletes_runs_later_and_never_earlier(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_age=30 * DAY)
        id = directory.run(history, directory.new_id())
        directory.close(history)
        directory.clock.reboot(off=365 * DAY)
        history = directory.open(max_age=30 * DAY)
        assert isinstance(history.look_up(id), KnownRun)
        directory.clock.advance(29.5 * DAY)
        directory.prune(history)
        assert isinstance(history.look_up(id), ForgottenRun)

    def test_ids_from_the_future_expire_without_expiring_those_of_today(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=1)
        ahead = directory.run(history, uuid7(directory.clock.wall() + 400 * DAY))
        directory.prune(history)
        assert isinstance(history.look_up(ahead), ForgottenRun)
        assert history.look_up(directory.new_id(1)) == UnknownRun()

    def test_a_jump_ahead_while_runs_are_deleted_does_not_move_the_horizon_ahead(
        self, directory: HistoryDirectory
    ) -> None:
        history = directory.open(max_runs=1)
        directory.clock.jump(400 * DAY)
        ids = [directory.run(history, directory.new_id(number)) for number in range(100)]
        directory.clock.advance(2 * HORIZON_SLACK)
        directory.prune(history)
        directory.clock.jump(-400 * DAY)
        assert history.look_up(directory.new_id(1)) == UnknownRun()
        assert isinstance(history.look_up(ids[0]), ForgottenRun)

    def test_a_client_whose_clock_is_slightly_slow_is_not_refused(self, directory: HistoryDirectory) -> None:
        history = directory.open(max_runs=1)
        for number in range(100):
            directory.clock.advance(60)
            directory.run(history, directory.new_id(number))
        assert history.look_up(uuid7(directory.clock.wall() - HORIZON_SLACK + 1, 1)) == UnknownRun()


def test_forgotten_ids_are_bounded_and_the_horizon_covers_the_dropped_ones(
    directory: HistoryDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MAX_FORGOTTEN_IDS", 100)
    history = directory.open(max_runs=1)
    undated = directory.run(history, uuid4(1))
    ids = [directory.run(history, directory.new_id(number)) for number in range(400)]
    assert isinstance(history.look_up(ids[0]), ForgottenRun)
    assert history.look_up(undated) == UnknownRun()  # the cost of the bound; ids that contain a time are not affected
    assert history.look_up(uuid7(directory.clock.wall() + 1)) == UnknownRun()
