"""Which records are deleted when, and how the id of a deleted record is told from one that was never used.

A deleted run's id must not be started again. UUIDv7 ids contain their creation time, so for most of them one number is
enough: the horizon. An id created at or before it, without a record, has expired. Ids that the horizon cannot cover
(of other versions, or created less than `HORIZON_SLACK` ago, or in the future) are kept by themselves,
`MAX_FORGOTTEN_IDS` of them.

Ages are counted by a clock of the history's own. A wall clock that jumps ahead for a moment must not make a month's
runs old at once, so this one counts boot time (CLOCK_BOOTTIME, clock_gettime(2)), which nobody can set, also across a
restart of the service. Across a restart of the machine only the wall clock is left, and it is believed for one day:
a machine that is off for longer keeps its records longer.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farhand_server.config import HistorySettings

from .records import ForgottenRun, UnknownRun, created_at

PRUNE_SLICE: Final = 32
"""Records deleted at once, in about 0.3 ms: a flush with starts in it never waits for more."""

HORIZON_SLACK: Final = 3600.0
"""Seconds by which the horizon stays behind the clock, so that a client whose clock is slow by less is not refused."""

MAX_FORGOTTEN_IDS: Final = 250_000
"""Ids kept without their records, about 12 MB."""

MAX_TIME_OFF: Final = 86400.0
"""Maximum seconds that a restart of the machine adds to the age of a record. A wrong clock at boot (no battery) can
cost a day of the month that records are kept; a machine that is off for longer forgets later, never sooner."""


class SystemClock:
    """The system's clocks, all in seconds; tests replace them."""

    def wall(self) -> float:
        """Return the time since 1970; it may jump either way."""
        return time.time()

    def boottime(self) -> float:
        """Return the time since boot, including suspend; it never jumps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """Return the id of this boot (proc_sys_kernel(5))."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class RetentionClock:
    """Seconds for which the history has existed; never goes back."""

    def __init__(self, clock: SystemClock, *, value: float, wall: float, boottime: float, boot_id: str) -> None:
        """Continue from what was saved last: `value` when the clocks showed `wall`, `boottime` and `boot_id`."""
        self._clock = clock
        now = clock.boottime()
        if boot_id == clock.boot_id():
            passed = now - boottime
        elif boot_id:
            passed = min(clock.wall() - wall, MAX_TIME_OFF)
        else:
            passed = 0.0
        self._offset = value + max(0.0, passed) - now
        self._wall_offset = clock.wall() - now

    def now(self) -> float:
        """Return the seconds for which the history has existed."""
        return self._offset + self._clock.boottime()

    def trusted_wall(self) -> float:
        """Return seconds since 1970, without any jump ahead that the wall clock has made since the start."""
        return min(self._clock.wall(), self._wall_offset + self._clock.boottime())


@dataclass(slots=True)
class HistoryTotals:
    """The number of records, their bytes, and the horizon in seconds since 1970."""

    records: int
    bytes: int
    horizon: float

    def copy(self) -> HistoryTotals:
        """Return an independent copy."""
        return HistoryTotals(self.records, self.bytes, self.horizon)


def prune(
    db: sqlite3.Connection, totals: HistoryTotals, settings: HistorySettings, *, clock: float, wall: float
) -> int:
    """Delete ended runs beyond the retention, the oldest first, at most `PRUNE_SLICE`; return how many were deleted.

    `clock` is the retention's own time, `wall` the time of day. Raises sqlite3.Error.
    """
    oldest = db.execute(
        "SELECT n, id, size, clock FROM record WHERE outcome IS NOT NULL ORDER BY n LIMIT ?", (PRUNE_SLICE,)
    ).fetchall()
    deleted = []
    for n, id, size, ended in oldest:
        over_limit = totals.records > settings.max_runs or totals.bytes > settings.max_size
        if over_limit or ended < clock - settings.max_age:
            deleted.append((n,))
            totals.records -= 1
            totals.bytes -= size
            created = created_at(id)
            if created is not None and created <= wall - HORIZON_SLACK:
                totals.horizon = max(totals.horizon, created)
            else:
                remember_id(db, id)
    if deleted:
        db.executemany("DELETE FROM record WHERE n = ?", deleted)
        _trim_ids(db, totals, wall)
    return len(deleted)


def remember_id(db: sqlite3.Connection, id: str) -> None:
    """Keep an id without its record. Raises sqlite3.Error."""
    db.execute("INSERT OR IGNORE INTO forgotten (id) VALUES (?)", (id_bytes(id),))


def look_up_deleted(db: sqlite3.Connection, totals: HistoryTotals, id: str) -> ForgottenRun | UnknownRun:
    """Say whether an id without a record may have been used. Raises sqlite3.Error."""
    created = created_at(id)
    if created is not None and created <= totals.horizon:
        return ForgottenRun(
            f"a run with the id {id} may already have been forgotten: by its id it was created before anything that is "
            "remembered here; if the run is new, the clock of the client or of the service is slow"
        )
    if db.execute("SELECT 1 FROM forgotten WHERE id = ?", (id_bytes(id),)).fetchone():
        return ForgottenRun(f"a run with the id {id} was started before, and its outcome has been forgotten")
    return UnknownRun()


def id_bytes(id: str) -> bytes:
    """Return an id as it is stored among the forgotten ones: 16 bytes."""
    return bytes.fromhex(id.replace("-", ""))


def _trim_ids(db: sqlite3.Connection, totals: HistoryTotals, wall: float) -> None:
    # Both ends are index look-ups; the numbers have no gaps, except for the few ids that were added twice.
    first, last = db.execute("SELECT (SELECT min(n) FROM forgotten), (SELECT max(n) FROM forgotten)").fetchone()
    if first is None or last - first < MAX_FORGOTTEN_IDS:
        return
    dropped = db.execute("DELETE FROM forgotten WHERE n < ? RETURNING id", (first + 2 * PRUNE_SLICE,)).fetchall()
    for (raw,) in dropped:
        digits = raw.hex()
        created = created_at("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
        if created is not None and created <= wall:
            totals.horizon = max(totals.horizon, created)
