"""Decides which records are deleted when, and tells the id of a deleted record from an id that was never used.

A deleted run's id must not be started again. UUIDv7 ids contain their creation time, so for most of them one number is
enough: the horizon. An id without a record that was created at or before the horizon has expired. Ids that the horizon
cannot cover (other UUID versions, ids created less than `HORIZON_SLACK` ago or in the future) are kept individually, up
to `MAX_FORGOTTEN_IDS`.

The history measures ages with its own clock. A wall clock that briefly jumps ahead must not make a month's runs old at
once, so the history's clock counts boot time (CLOCK_BOOTTIME, clock_gettime(2)), which nobody can set, and which also
works across a restart of the service. Across a restart of the machine, only the wall clock is available, and it is
trusted for at most one day: a machine that is off for longer keeps its records longer.
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
"""Records deleted at once, in about 0.3 ms. A flush that contains starts never waits for more."""

HORIZON_SLACK: Final = 3600.0
"""Seconds by which the horizon lags behind the clock, so that a client whose clock is slow by less than that is not
refused."""

MAX_FORGOTTEN_IDS: Final = 250_000
"""Maximum number of ids kept without their records, about 12 MB."""

MAX_TIME_OFF: Final = 86400.0
"""Maximum seconds that a restart of the machine adds to the age of a record. A wrong clock at boot (without a battery)
can cost one day of the month for which records are kept; a machine that is off for longer forgets later, never
earlier."""


class SystemClock:
    """The system's clocks, all in seconds. Tests replace them."""

    def wall(self) -> float:
        """Return the time since 1970. It may jump forwards or backwards."""
        return time.time()

    def boottime(self) -> float:
        """Return the time since boot, including time suspended. It never jumps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """Return the id of this boot (proc_sys_kernel(5))."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class RetentionClock:
    """Measures for how many seconds the history has existed. It never goes backwards."""

    def __init__(self, clock: SystemClock, *, value: float, wall: float, boottime: float, boot_id: str) -> None:
        """Continue from the last saved state: this clock had `value` when the system's clocks had `wall`, `boottime`
        and `boot_id`."""
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
        """Return the seconds since 1970, ignoring any jump ahead that the wall clock has made since the start."""
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
    """Delete records of ended runs beyond the retention, oldest first, at most `PRUNE_SLICE`. Return how many were
    deleted.

    `clock` is the time of the `RetentionClock`, `wall` the time since 1970. Raises sqlite3.Error.
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
    """Return whether an id without a record may have been used. Raises sqlite3.Error."""
    created = created_at(id)
    if created is not None and created <= totals.horizon:
        return ForgottenRun(
            f"a run with the id {id} may already have been forgotten: according to its id, it was created before "
            "anything that is remembered here; if the run is new, the clock of the client or of the service is slow"
        )
    if db.execute("SELECT 1 FROM forgotten WHERE id = ?", (id_bytes(id),)).fetchone():
        return ForgottenRun(f"a run with the id {id} was already started, and its outcome has been forgotten")
    return UnknownRun()


def id_bytes(id: str) -> bytes:
    """Return an id in the form in which forgotten ids are stored: 16 bytes."""
    return bytes.fromhex(id.replace("-", ""))


def _trim_ids(db: sqlite3.Connection, totals: HistoryTotals, wall: float) -> None:
    # Finding both ends takes only index look-ups. The numbers have no gaps, except for a few ids that were added twice.
    first, last = db.execute("SELECT (SELECT min(n) FROM forgotten), (SELECT max(n) FROM forgotten)").fetchone()
    if first is None or last - first < MAX_FORGOTTEN_IDS:
        return
    dropped = db.execute("DELETE FROM forgotten WHERE n < ? RETURNING id", (first + 2 * PRUNE_SLICE,)).fetchall()
    for (raw,) in dropped:
        digits = raw.hex()
        created = created_at("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
        if created is not None and created <= wall:
            totals.horizon = max(totals.horizon, created)
