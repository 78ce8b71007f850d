"""Ended runs go by age, number and size; what was forgotten is never taken for new, whatever the clock does."""

from __future__ import annotations

import pytest

from farhand_server.history import Expired, History, Known, Unknown, retention
from farhand_server.history.retention import SLACK
from tests.support.history import EXITED, Shelf, record, uuid4, uuid7

DAY = 86400.0


def known(history: History) -> set[str]:
    return {found.id for found in history.recent(limit=1_000_000)}


def test_runs_beyond_the_age_are_forgotten_and_expired(shelf: Shelf) -> None:
    history = shelf.open(max_age=30 * DAY)
    old, undated = shelf.run(history, shelf.new_id()), shelf.run(history, uuid4(1))
    shelf.clock.passes(29 * DAY)
    shelf.settle(history)
    assert {old, undated} <= known(history)
    shelf.clock.passes(2 * DAY)
    shelf.settle(history)
    assert not {old, undated} & known(history)
    assert isinstance(history.state_of(old), Expired)
    assert isinstance(history.state_of(undated), Expired)
    assert history.state_of(shelf.new_id()) == Unknown()
    assert history.state_of(uuid4(2)) == Unknown()


def test_age_is_counted_from_the_end(shelf: Shelf) -> None:
    history = shelf.open(max_age=30 * DAY)
    long = shelf.new_id()
    history.starting(record(long))
    shelf.clock.passes(60 * DAY)
    shelf.settle(history)
    history.ended(long, EXITED, stdout=0, stderr=0, duration=60 * DAY)
    shelf.settle(history)
    assert isinstance(history.state_of(long), Known)


def test_no_more_runs_than_configured_and_those_under_way_stay(shelf: Shelf) -> None:
    history = shelf.open(max_runs=50)
    under_way = shelf.new_id(1000)
    history.starting(record(under_way))
    ids = [shelf.run(history, shelf.new_id(number)) for number in range(200)]
    kept = known(history)
    assert 50 <= len(kept) <= 50 + retention.SLICE
    assert kept == {under_way, *ids[201 - len(kept) :]}
    assert all(isinstance(history.state_of(id), Expired) for id in ids[: 201 - len(kept)])


def test_no_more_bytes_than_configured(shelf: Shelf) -> None:
    history = shelf.open(max_size=1 << 20)
    for number in range(200):
        shelf.run(history, shelf.new_id(number), request=b"x" * 20_000)
    assert 40 <= len(known(history)) <= 52 + retention.SLICE


def test_one_flush_removes_a_slice_and_no_more(shelf: Shelf) -> None:
    history = shelf.open()
    for number in range(300):
        shelf.run(history, uuid4(number))
    shelf.close(history)
    history = shelf.open(max_runs=1)
    assert len(known(history)) == 300 - retention.SLICE


def test_the_numbers_survive_a_restart(shelf: Shelf) -> None:
    history = shelf.open(max_runs=50)
    ids = [shelf.run(history, shelf.new_id(number)) for number in range(100)]
    shelf.crash(history)
    history = shelf.open(max_runs=50)
    assert isinstance(history.state_of(ids[0]), Expired)
    assert len(known(history)) <= 50 + retention.SLICE


class TestClocks:
    @pytest.mark.parametrize("step", [400 * DAY, -400 * DAY])
    def test_a_step_of_the_wall_clock_makes_nothing_old(self, shelf: Shelf, step: float) -> None:
        history = shelf.open(max_age=30 * DAY)
        id = shelf.run(history, shelf.new_id())
        shelf.clock.step(step)
        shelf.settle(history)
        assert isinstance(history.state_of(id), Known)
        shelf.crash(history)
        history = shelf.open(max_age=30 * DAY)
        shelf.settle(history)
        shelf.clock.step(-step)
        shelf.settle(history)
        assert isinstance(history.state_of(id), Known)
        assert history.state_of(shelf.new_id(1)) == Unknown()

    def test_a_service_that_was_stopped_for_long_comes_back_and_forgets(self, shelf: Shelf) -> None:
        history = shelf.open(max_age=30 * DAY)
        id = shelf.run(history, shelf.new_id())
        shelf.close(history)
        shelf.clock.passes(31 * DAY)
        assert isinstance(shelf.open(max_age=30 * DAY).state_of(id), Expired)

    def test_a_machine_that_was_off_forgets_later_never_sooner(self, shelf: Shelf) -> None:
        history = shelf.open(max_age=30 * DAY)
        id = shelf.run(history, shelf.new_id())
        shelf.close(history)
        shelf.clock.reboot(off=365 * DAY)
        history = shelf.open(max_age=30 * DAY)
        assert isinstance(history.state_of(id), Known)
        shelf.clock.passes(29.5 * DAY)
        shelf.settle(history)
        assert isinstance(history.state_of(id), Expired)

    def test_ids_of_a_clock_ahead_expire_without_taking_those_of_now_with_them(self, shelf: Shelf) -> None:
        history = shelf.open(max_runs=1)
        ahead = shelf.run(history, uuid7(shelf.clock.wall() + 400 * DAY))
        shelf.settle(history)
        assert isinstance(history.state_of(ahead), Expired)
        assert history.state_of(shelf.new_id(1)) == Unknown()

    def test_a_step_ahead_while_runs_are_forgotten_does_not_move_the_horizon_ahead(self, shelf: Shelf) -> None:
        history = shelf.open(max_runs=1)
        shelf.clock.step(400 * DAY)
        ids = [shelf.run(history, shelf.new_id(number)) for number in range(100)]
        shelf.clock.passes(2 * SLACK)
        shelf.settle(history)
        shelf.clock.step(-400 * DAY)
        assert history.state_of(shelf.new_id(1)) == Unknown()
        assert isinstance(history.state_of(ids[0]), Expired)

    def test_a_client_whose_clock_is_a_little_slow_is_not_refused(self, shelf: Shelf) -> None:
        history = shelf.open(max_runs=1)
        for number in range(100):
            shelf.clock.passes(60)
            shelf.run(history, shelf.new_id(number))
        assert history.state_of(uuid7(shelf.clock.wall() - SLACK + 1, 1)) == Unknown()


def test_forgotten_ids_are_bounded_and_the_horizon_covers_those_that_go(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FORGOTTEN", 100)
    history = shelf.open(max_runs=1)
    undated = shelf.run(history, uuid4(1))
    ids = [shelf.run(history, shelf.new_id(number)) for number in range(400)]
    assert isinstance(history.state_of(ids[0]), Expired)
    assert history.state_of(undated) == Unknown()  # the price of the bound; ids with a time do not pay it
    assert history.state_of(uuid7(shelf.clock.wall() + 1)) == Unknown()
