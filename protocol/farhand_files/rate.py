"""At most so many bytes each second. No I/O: the clock and the waiting are given in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

RATE_BURST: Final = 0.1
"""Seconds whose bytes may be sent at once: short enough for other users of a connection, and long enough not to wait
after each frame."""

MIN_SLICE: Final = 4096
"""Bytes that are sent at once, however low the rate is."""


class ContentRate:
    """A token bucket. `take` waits until bytes may be sent."""

    def __init__(self, rate: int, clock: Callable[[], float], wait: Callable[[float], object]) -> None:
        """`rate` is in bytes per second, `clock` in seconds; `wait` waits for so many seconds, or less."""
        self._rate = max(1, rate)
        self._clock = clock
        self._wait = wait
        self._free = self._burst = self._rate * RATE_BURST
        self._at = clock()
        self.slice: Final = max(MIN_SLICE, int(self._burst))
        """Bytes that are best sent at once, for an even flow."""

    def take(self, size: int) -> None:
        """Wait until `size` bytes may be sent."""
        now = self._clock()
        self._free = min(self._burst, self._free + (now - self._at) * self._rate) - size
        self._at = now
        if self._free < 0:
            self._wait(-self._free / self._rate)
