"""When a line that was lost is tried again: full-jitter back-off with a deadline, without a clock of its own."""

from __future__ import annotations

from typing import Final

BASE: Final = 0.1
"""Seconds within which the first attempt is made: most cuts are over at once, and an edge is restarted in as many."""

CAP: Final = 5.0
"""Seconds between two attempts at the most: a person who waits sees the line come back soon, and a thousand clients
that lost one service are 400 attempts a second on average, as many as it can take."""


class Backoff:
    """The attempts of one outage, which begins `now` and is given up after `patience` seconds.

    Before each attempt a time between 0 and min(`CAP`, `BASE` * 2**n) is waited, evenly distributed, so that clients
    that lost a service together do not come back together ("full jitter": M. Brooker, Exponential Backoff And Jitter,
    AWS Architecture Blog, 2015).
    """

    def __init__(self, now: float, patience: float) -> None:
        self.deadline: Final = now + patience
        self.attempts = 0

    def left(self, now: float) -> float:
        """Return the seconds that are left, 0 or more."""
        return max(0.0, self.deadline - now)

    def delay(self, now: float) -> float | None:
        """Return the seconds to wait before the next attempt; None where the time for attempts is up."""
        from random import uniform  # importing it takes 3 ms, which a client that is never cut off need not pay

        if now >= self.deadline:
            return None
        # Beyond 2**6 the cap holds anyway; an exponent without a bound would become a number without one.
        seconds = uniform(0, min(CAP, BASE * 2 ** min(self.attempts, 6)))
        self.attempts += 1
        return min(seconds, self.deadline - now)
