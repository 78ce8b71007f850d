"""How long a round trip to the service takes, and whether that is long enough to predict echoes."""

from __future__ import annotations

from typing import Final

SLOW: Final = 0.030
"""Seconds of a round trip from which on typing feels slow, and echoes are predicted."""

QUICK: Final = 0.020
"""Seconds below which echoes are no longer predicted: as in mosh, far enough from `SLOW` that jitter does not switch
back and forth."""

_WEIGHT: Final = 1 / 8
"""Of a new measurement in the smoothed value, as in TCP (RFC 6298)."""


class RoundTrips:
    """The smoothed time of a round trip."""

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """In seconds; None before the first measurement."""
        self.slow = False
        """Whether echoes should be predicted."""

    def measured(self, seconds: float) -> None:
        """Include a measurement."""
        self.smoothed = seconds if self.smoothed is None else self.smoothed + (seconds - self.smoothed) * _WEIGHT
        self.slow = self.smoothed >= (QUICK if self.slow else SLOW)
