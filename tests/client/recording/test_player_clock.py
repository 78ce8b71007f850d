"""When events are due: speed, idle limit, late events, pauses."""

from __future__ import annotations

import math

import pytest

from farhand_client.recording.player import PlaybackClock


@pytest.mark.parametrize(
    ("speed", "idle_limit", "due"),
    [
        (1.0, math.inf, [100.0, 101.0, 101.0, 111.0]),
        (2.0, math.inf, [100.0, 100.5, 100.5, 105.5]),
        (0.5, math.inf, [100.0, 102.0, 102.0, 122.0]),
        (1.0, 3.0, [100.0, 101.0, 101.0, 104.0]),
        (2.0, 3.0, [100.0, 100.5, 100.5, 102.0]),
        (1.0, 0.0, [100.0] * 4),
    ],
)
def test_events_are_due_at_the_recorded_intervals(speed: float, idle_limit: float, due: list[float]) -> None:
    clock = PlaybackClock(100.0, speed, idle_limit)
    found = []
    for at in (0.0, 1.0, 1.0, 11.0):
        clock.set_next(at)
        found.append(clock.remaining(100.0) + 100.0)
    assert found == pytest.approx(due)


def test_a_late_event_does_not_delay_the_following_ones() -> None:
    clock = PlaybackClock(0.0)
    clock.set_next(1.0)
    assert clock.remaining(5.0) == -4.0
    clock.set_next(7.0)
    assert clock.remaining(5.0) == 2.0


def test_nothing_is_due_while_paused() -> None:
    clock = PlaybackClock(0.0)
    clock.set_next(10.0)
    clock.pause(4.0)
    clock.pause(5.0)
    assert (clock.paused, clock.remaining(100.0)) == (True, math.inf)
    clock.resume(100.0)
    clock.resume(200.0)
    assert (clock.paused, clock.remaining(100.0)) == (False, 6.0)
