"""When events are due."""

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
def test_events_are_due_at_their_distance(speed: float, idle_limit: float, due: list[float]) -> None:
    pace = PlaybackClock(100.0, speed, idle_limit)
    found = []
    for at in (0.0, 1.0, 1.0, 11.0):
        pace.set_next(at)
        found.append(pace.remaining(100.0) + 100.0)
    assert found == pytest.approx(due)


def test_one_that_is_late_does_not_make_others_late() -> None:
    pace = PlaybackClock(0.0)
    pace.set_next(1.0)
    assert pace.remaining(5.0) == -4.0
    pace.set_next(7.0)
    assert pace.remaining(5.0) == 2.0


def test_while_it_stands_still_nothing_is_due() -> None:
    pace = PlaybackClock(0.0)
    pace.set_next(10.0)
    pace.pause(4.0)
    pace.pause(5.0)
    assert (pace.paused, pace.remaining(100.0)) == (True, math.inf)
    pace.resume(100.0)
    pace.resume(200.0)
    assert (pace.paused, pace.remaining(100.0)) == (False, 6.0)
