"""What the events of a transfer say about how far it is, whatever their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.ui.transfer_state import MAX_SAMPLES, RATE_WINDOW, TransferState
from farhand_files.events import Begun, Event, Finished, Found, FoundAll, Moved, Removed, Skipped, Trouble
from farhand_files.wire import DIRECTORY, REGULAR, SYMLINK

DIGEST = b"\1" * 32


def state_after(*events: Event) -> TransferState:
    state = TransferState()
    for event in events:
        state.note(event)
    return state


def test_only_regular_files_are_counted() -> None:
    state = state_after(Found(b"d", DIRECTORY, 0), Found(b"d/l", SYMLINK, 0), Found(b"d/f", REGULAR, 7))
    assert (state.files, state.size) == (1, 7)


def test_how_much_is_done_is_unknown_until_all_is_found() -> None:
    state = state_after(Found(b"f", REGULAR, 10), Begun(b"f", 10, 0), Moved(b"f", 5, 5))
    assert (state.done, state.fraction) == (5, None)
    state.note(FoundAll(1, 10))
    assert state.fraction == 0.5


def test_how_much_is_done_is_unknown_for_a_pipe() -> None:
    state = state_after(Found(b"p", REGULAR, -1), FoundAll(1, 0), Begun(b"p", -1, 0), Moved(b"p", 5, 5))
    assert (state.done, state.fraction, state.seconds_left) == (5, None, None)


def test_what_was_there_already_is_done_and_does_not_count_for_the_rate() -> None:
    state = state_after(Found(b"f", REGULAR, 100), FoundAll(1, 100))
    state.sample(0.0)
    state.note(Begun(b"f", 100, 60))
    assert state.fraction == 0.6
    state.note(Moved(b"f", 80, 20))
    state.sample(2.0)
    assert (state.rate, state.seconds_left) == (10.0, 2.0)


def test_files_that_are_up_to_date_are_done_at_once() -> None:
    state = state_after(Found(b"f", REGULAR, 100), FoundAll(1, 100), Skipped(b"f", 100))
    assert (state.fraction, state.over) == (1.0, 1)


def test_empty_files_are_counted_where_there_are_no_bytes() -> None:
    found: list[Event] = [Found(b"a", REGULAR, 0), Found(b"b", REGULAR, 0), FoundAll(2, 0)]
    assert state_after(*found).fraction == 0.0
    assert state_after(*found, Finished(b"a", 0, 0, 0, DIGEST)).fraction == 0.5
    assert state_after(FoundAll(0, 0)).fraction == 1.0


def test_a_small_file_need_not_be_reported_to_start() -> None:
    state = state_after(Found(b"f", REGULAR, 9), FoundAll(1, 9), Finished(b"f", 9, 9, 0, DIGEST))
    assert (state.fraction, state.over, state.under_way) == (1.0, 1, {})


@pytest.mark.parametrize("named", [b"d/f", b"/srv/d/f"])
def test_a_file_that_has_failed_is_over(named: bytes) -> None:
    state = state_after(Found(b"d/f", REGULAR, 10), FoundAll(1, 10), Begun(b"d/f", 10, 0), Moved(b"d/f", 3, 3))
    state.note(Trouble(named, 0, "this has grown", True))
    assert not state.failed
    state.note(Trouble(named, 28, "no space left on device", True))
    assert (state.failed, state.over, state.done, state.under_way) == (1, 1, 10, {})


def test_a_failure_elsewhere_leaves_the_others_under_way() -> None:
    state = state_after(Begun(b"f", 10, 0), Trouble(b"/srv/xf", 13, "permission denied", True))
    assert list(state.under_way) == [b"f"]


def test_a_file_that_starts_again_begins_again() -> None:
    state = state_after(Begun(b"f", 10, 0), Moved(b"f", 8, 8), Begun(b"f", 10, 2))
    assert state.done == 2


def test_what_another_attempt_finds_again_counts_once() -> None:
    found: list[Event] = [
        Found(b"d", DIRECTORY, 0),
        Found(b"d/a", REGULAR, 5),
        Found(b"d/b", REGULAR, 7),
        FoundAll(3, 12),
    ]
    state = state_after(*found, Finished(b"d/a", 5, 5, 0, DIGEST), Begun(b"d/b", 7, 0), *found, Skipped(b"d/a", 5))
    assert (state.files, state.size, state.over, state.done, state.under_way) == (2, 12, 1, 5, {})


def test_deleted_paths_are_counted() -> None:
    assert state_after(Removed(b"a"), Removed(b"b")).deleted == 2


def test_the_rate_is_that_of_the_last_seconds() -> None:
    state = state_after(Begun(b"f", 10**6, 0))
    assert state.rate is None
    moved = 0
    for second in range(4 * int(RATE_WINDOW)):
        moved += 1000 if second < 2 * RATE_WINDOW else 10
        state.note(Moved(b"f", moved, moved))
        state.sample(float(second))
    assert state.rate == pytest.approx(10, rel=0.2)
    for at in range(2 * MAX_SAMPLES):
        state.sample(100 + at / 100)
        state.sample(100 + at / 100)
    assert state.rate == 0.0


NAMES = st.sampled_from([b"a", b"b", b"d/c"])
SIZES = st.integers(-1, 1000)
AMOUNTS = st.integers(0, 1000)
EVENTS = st.one_of(
    st.builds(Found, NAMES, st.just(REGULAR), SIZES),
    st.builds(Begun, NAMES, SIZES, AMOUNTS),
    st.builds(Moved, NAMES, AMOUNTS, AMOUNTS),
    st.builds(Finished, NAMES, AMOUNTS, AMOUNTS, AMOUNTS, st.just(DIGEST)),
    st.builds(Skipped, NAMES, AMOUNTS),
    st.builds(Trouble, NAMES, st.just(5), st.just("broken"), st.booleans()),
    st.just(FoundAll(3, 1000)),
)


@given(st.lists(EVENTS, max_size=60))
def test_any_events_leave_a_state_that_can_be_shown(events: list[Event]) -> None:
    state = TransferState()
    for at, event in enumerate(events):
        state.note(event)
        state.sample(at / 10)
    assert state.done >= 0
    assert state.fraction is None or 0 <= state.fraction <= 1
    assert state.seconds_left is None or state.seconds_left >= 0
