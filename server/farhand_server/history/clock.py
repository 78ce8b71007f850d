"""Time for the retention: it goes on while the service does, and no step of the wall clock moves it.

A clock that jumps ahead for a moment must not make a month's runs old at once. So age is counted in boot time
(CLOCK_BOOTTIME, clock_gettime(2)), which nobody can set, also over a restart of the service. Over a restart of the
machine there is only the wall clock, and it is believed for a day: what is off longer keeps its records longer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

MAX_OFF: Final = 86400.0
"""Seconds that a restart of the machine adds at most to the age of a record. A wrong clock at boot (no battery) can
cost a day of the month that records are kept; a machine that is off for longer forgets later, never sooner."""


class Clock:
    """The system's clocks; a test has others. All in seconds."""

    def wall(self) -> float:
        """Since 1970; may step either way."""
        return time.time()

    def boottime(self) -> float:
        """Since boot, suspended time included; never steps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """What tells this boot from all others (proc_sys_kernel(5))."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class RetentionClock:
    """Seconds that the history has lived through; only ever goes on."""

    def __init__(self, clock: Clock, *, value: float, wall: float, boottime: float, boot_id: str) -> None:
        """Go on from what was written down last: `value` at these times."""
        self._clock = clock
        now = clock.boottime()
        if boot_id == clock.boot_id():
            passed = now - boottime
        elif boot_id:
            passed = min(clock.wall() - wall, MAX_OFF)
        else:
            passed = 0.0
        self._offset = value + max(0.0, passed) - now
        self._wall_offset = clock.wall() - now

    def now(self) -> float:
        """Seconds the history has lived through."""
        return self._offset + self._clock.boottime()

    def trusted_wall(self) -> float:
        """Seconds since 1970, without any step ahead that the wall clock has made since the start."""
        return min(self._clock.wall(), self._wall_offset + self._clock.boottime())
