"""At most so many bytes each second, on a clock that a test turns."""

from __future__ import annotations

from farhand_files.rate import MIN_SLICE, RATE_BURST, ContentRate


class Waiting:
    """A clock that goes on only while something waits."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_bytes_take_their_time() -> None:
    clock = Waiting()
    rate = ContentRate(1000, clock, clock.wait)
    for _ in range(100):
        rate.take(100)
    assert abs(clock.now - 100.0 - (10 - RATE_BURST)) < 1e-6


def test_time_that_was_not_used_is_not_saved_up() -> None:
    clock = Waiting()
    rate = ContentRate(1000, clock, clock.wait)
    clock.now += 3600
    rate.take(int(1000 * RATE_BURST))
    assert not clock.waits
    rate.take(500)
    assert clock.waits == [0.5]


def test_a_wait_that_is_cut_short_is_made_up_for() -> None:
    clock = Waiting()
    waits: list[float] = []
    rate = ContentRate(1000, clock, waits.append)
    rate.take(1100)
    rate.take(1000)
    assert waits == [1.0, 2.0]


def test_slices_are_a_burst_but_not_tiny() -> None:
    clock = Waiting()
    assert ContentRate(10_000_000, clock, clock.wait).slice == 1_000_000
    assert ContentRate(1, clock, clock.wait).slice == MIN_SLICE
