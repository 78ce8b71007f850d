"""When a process that has ended is started again."""

from __future__ import annotations

from typing import Final

STEADY_TIME: Final = 1.0
"""Seconds after which a process counts as having worked, so that the next one is started at once."""

FREE_RESTARTS: Final = 3
"""Processes that may end sooner, one after the other, and still be replaced at once."""

FIRST_RESTART_DELAY: Final = 0.1
"""Seconds of the first delay; each further delay is twice the one before."""


class RestartDelay:
    """The delay before the next start: none, unless processes keep ending right after their start or before they are
    ready. Without a clock."""

    def __init__(self, maximum: float) -> None:
        """`maximum` is the longest delay in seconds."""
        self._maximum = maximum
        self._failures = 0

    def after(self, worked: float | None) -> float:
        """Return the seconds to wait after a process that has worked for so many seconds; None if it was not ready."""
        if worked is not None and worked >= STEADY_TIME:
            self._failures = 0
            return 0.0
        self._failures += 1
        beyond = self._failures - (FREE_RESTARTS if worked is not None else 0)
        # Beyond 2**10 the maximum is the smaller one anyway; without a bound the power would grow forever.
        return 0.0 if beyond <= 0 else min(self._maximum, FIRST_RESTART_DELAY * 2 ** min(beyond - 1, 10))
