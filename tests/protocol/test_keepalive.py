"""Keep-alive: a silent peer is pinged after one interval and given up after three, and any sign of life resets that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol.keepalive import MAX_SILENT_INTERVALS, Keepalive, KeepaliveAction

NONE, PING, GIVE_UP = KeepaliveAction.NONE, KeepaliveAction.PING, KeepaliveAction.GIVE_UP


@pytest.mark.parametrize(
    ("received", "actions"),
    [
        # Whether something arrived in each interval, and what follows at its end.
        ([False], [NONE]),
        ([True, True, True, True], [NONE, NONE, NONE, NONE]),
        ([False, False, False, False], [NONE, PING, PING, GIVE_UP]),
        ([True, False, True, False, False, False], [NONE, PING, NONE, PING, PING, GIVE_UP]),
        ([False, False, False, True, False, False, False], [NONE, PING, PING, NONE, PING, PING, GIVE_UP]),
    ],
)
def test_each_interval_ends_with_the_right_action(received: list[bool], actions: list[KeepaliveAction]) -> None:
    keepalive, now, seen = Keepalive(5.0), 100.0, []
    keepalive.start(now)
    for arrived in received:
        now += 5.0
        assert keepalive.deadline == now
        if arrived:
            keepalive.received()
        seen.append(keepalive.check(now))
    assert seen == actions
    assert keepalive.deadline == (None if GIVE_UP in actions else now + 5.0)
    assert keepalive.silence == 5.0 * actions[::-1].index(NONE)


def test_a_check_before_the_deadline_changes_nothing() -> None:
    keepalive = Keepalive(5.0)
    keepalive.start(0.0)
    assert keepalive.check(4.9) is NONE
    assert keepalive.deadline == 5.0
    keepalive.check(5.0)
    assert [keepalive.check(9.9), keepalive.check(10.0)] == [NONE, PING], "the interval of the early check is not over"


def test_a_late_check_starts_a_whole_interval() -> None:
    keepalive = Keepalive(5.0)
    keepalive.start(0.0)
    keepalive.check(60.0)
    assert keepalive.deadline == 65.0, "after a pause of this machine the peer still has time to answer"


def test_nothing_is_due_before_the_start_or_after_giving_up() -> None:
    keepalive = Keepalive(1.0)
    assert (keepalive.deadline, keepalive.check(1e9)) == (None, NONE)
    keepalive.start(0.0)
    assert [keepalive.check(float(now)) for now in range(1, 9)] == [NONE, PING, PING, GIVE_UP, NONE, NONE, NONE, NONE]


def test_without_an_interval_nothing_is_ever_due() -> None:
    keepalive = Keepalive(None)
    keepalive.start(0.0)
    assert (keepalive.deadline, keepalive.check(1e9), keepalive.silence) == (None, NONE, 0.0)


@given(
    st.floats(0.01, 1e4),
    st.lists(st.one_of(st.just("received"), st.floats(0, 2)), max_size=60),
)
def test_a_peer_is_given_up_only_after_so_many_silent_intervals(interval: float, happened: list[str | float]) -> None:
    """Random arrivals and pauses (in intervals), with a check at every deadline, as a timer makes them."""
    keepalive, now, received_at, pings = Keepalive(interval), 0.0, 0.0, 0
    keepalive.start(now)
    for what in happened:
        if isinstance(what, str):
            keepalive.received()
            received_at, pings = now, 0
            continue
        until = now + what * interval
        while keepalive.deadline is not None and keepalive.deadline <= until:
            now = keepalive.deadline
            match keepalive.check(now):
                case KeepaliveAction.PING:
                    pings += 1
                    assert now - received_at >= interval * (1 - 1e-9)
                case KeepaliveAction.GIVE_UP:
                    silence = now - received_at
                    assert interval * MAX_SILENT_INTERVALS <= silence * (1 + 1e-9)
                    assert silence <= interval * (MAX_SILENT_INTERVALS + 1) * (1 + 1e-9)
                    assert pings == MAX_SILENT_INTERVALS - 1
                    return
            assert keepalive.deadline == now + interval
        now = until
