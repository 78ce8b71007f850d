"""When a recording's events are due while it is played. It has no clock: whoever plays tells the time."""

from __future__ import annotations

import math


class Pace:
    """Plays from `now` on, a time in seconds that only grows, at `speed` (above 0), no pause longer than `idle_limit`
    seconds of the recording (0 or more)."""

    def __init__(self, now: float, speed: float = 1.0, idle_limit: float = math.inf) -> None:
        self._due = now
        self._at = 0.0
        self._speed = speed
        self._idle_limit = idle_limit
        self._paused: float | None = None

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._paused is not None

    def next(self, at: float) -> None:
        """What comes next is `at` seconds into the recording."""
        self._due += min(max(0.0, at - self._at), self._idle_limit) / self._speed
        self._at = max(self._at, at)

    def left(self, now: float) -> float:
        """Return how many seconds from `now` on that is due; without end while it stands still."""
        return math.inf if self.paused else self._due - now

    def pause(self, now: float) -> None:
        """Stand still from `now` on."""
        if self._paused is None:
            self._paused = now

    def resume(self, now: float) -> None:
        """Go on where it stood still."""
        if self._paused is not None:
            self._due += now - self._paused
            self._paused = None
