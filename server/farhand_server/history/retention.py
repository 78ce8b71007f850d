"""Decides which records are deleted when, and tells the id of a deleted record from an id that was never used.

A deleted run's id must not be started again. UUIDv7 ids contain their creation time, so for most of them one number for
each owner is enough: the horizon. An id without a record that was created at or before its owner's horizon has expired.
Ids that the horizon cannot cover (other UUID versions, ids created less than `HORIZON_SLACK` ago or in the future) are
kept individually, up to `MAX_FORGOTTEN_IDS`. The same id under another owner is another run, so nobody's deleted
records affect what others may start. Only a loss that may concern everybody moves the horizon of `EVERYBODY`.

The history measures ages with its own clock. A wall clock that briefly jumps ahead must not make a month's runs old at
once, so the history's clock counts boot time (CLOCK_BOOTTIME, clock_gettime(2)), which nobody can set, and which also
works across a restart of the service. Across a restart of the machine, only the wall clock is available, and it is
trusted for at most one day: a machine that is off for longer keeps its records longer.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from farhand_server.config import HistorySettings

from .records import ForgottenRun, UnknownRun, created_at, id_bytes, id_text

PRUNE_SLICE: Final = 32
"""Records deleted at once, in about 0.3 ms. A flush that contains starts never waits for more."""

HORIZON_SLACK: Final = 3600.0
"""Seconds by which the horizon lags behind the clock, so that a client whose clock is slow by less than that is not
refused."""

MAX_FORGOTTEN_IDS: Final = 250_000
"""Maximum number of ids kept without their records, about 25 MB. Beyond it, those of the owner who has the most of
them are dropped."""

EVERYBODY: Final = ""
"""The owner in whose name expires what may be anybody's: no account has an empty name."""

MAX_TIME_OFF: Final = 86400.0
"""Maximum seconds that a restart of the machine adds to the age of a record. A wrong clock at boot (without a battery)
can cost one day of the month for which records are kept; a machine that is off for longer forgets later, never
earlier."""


_USED: Final = {
    "records": "SELECT sum(records), sum(records > 0) FROM owner",
    "bytes": "SELECT sum(bytes), sum(records > 0) FROM owner",
}
"""How much all owners have in records of ended runs, and how many owners have any."""

_LARGEST: Final = {
    "records": "SELECT name, records FROM owner WHERE records > ? ORDER BY records DESC LIMIT 1",
    "bytes": "SELECT name, bytes FROM owner WHERE bytes > ? ORDER BY bytes DESC LIMIT 1",
}
"""The owner who has the most, more than a share, and how much."""


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


def prune(db: sqlite3.Connection, settings: HistorySettings, *, clock: float, wall: float) -> int:
    """Delete records of ended runs beyond the retention, at most `PRUNE_SLICE`. Return how many were deleted.

    First those that are too old. Then, while there are too many records or bytes, those of the owner who has the most,
    the oldest first. Nobody loses records to others who has no more than a fair share: the bound divided by the number
    of owners. `clock` is the time of the `RetentionClock`, `wall` the time since 1970. Raises sqlite3.Error.
    """
    old = db.execute(
        "SELECT n, owner, id FROM record WHERE outcome IS NOT NULL AND clock < ? ORDER BY clock LIMIT ?",
        (clock - settings.max_age, PRUNE_SLICE),
    ).fetchall()
    _delete(db, old, wall)
    deleted = len(old)
    for column, bound in (("records", settings.max_runs), ("bytes", settings.max_size)):
        used, owners = db.execute(_USED[column]).fetchone()
        while used > bound and deleted < PRUNE_SLICE:
            excess = _excess_of_the_largest(db, column, used - bound, bound // owners, PRUNE_SLICE - deleted)
            if not excess:
                break
            _delete(db, excess, wall)
            deleted += len(excess)
            used, _ = db.execute(_USED[column]).fetchone()
    return deleted


def _excess_of_the_largest(
    db: sqlite3.Connection, column: str, excess: int, share: int, limit: int
) -> list[tuple[int, str, str]]:
    """Return the oldest records of the owner who has the most, as few as make up for `excess`, and no more than what
    the owner has beyond `share`."""
    largest = db.execute(_LARGEST[column], (share,)).fetchone()
    if largest is None:
        return []
    owner, used = largest
    oldest = db.execute(
        "SELECT n, id, size FROM record WHERE owner = ? AND outcome IS NOT NULL ORDER BY n LIMIT ?", (owner, limit)
    )
    found: list[tuple[int, str, str]] = []
    for n, id, size in oldest.fetchall():
        if excess <= 0 or used <= share:
            break
        found.append((n, owner, id))
        cost = 1 if column == "records" else size
        excess, used = excess - cost, used - cost
    return found


def _delete(db: sqlite3.Connection, records: Sequence[tuple[int, str, str]], wall: float) -> None:
    for n, owner, id in records:
        db.execute("DELETE FROM record WHERE n = ?", (n,))
        created = created_at(id)
        if created is not None and created <= wall - HORIZON_SLACK:
            raise_horizon(db, owner, created)
        else:
            remember_id(db, id, owner)
    if records:
        _trim_ids(db, wall)


def raise_horizon(db: sqlite3.Connection, owner: str, created: float) -> None:
    """Let ids of this owner that were created at or before `created` expire, if there is no record of them.

    Raises sqlite3.Error.
    """
    db.execute("UPDATE owner SET horizon = max(horizon, ?) WHERE name = ?", (created, owner))


def remember_id(db: sqlite3.Connection, id: str, owner: str = EVERYBODY) -> None:
    """Keep an id without its record. Raises sqlite3.Error."""
    db.execute("INSERT OR IGNORE INTO forgotten (owner, id) VALUES (?, ?)", (owner, id_bytes(id)))


def look_up_deleted(db: sqlite3.Connection, id: str, owner: str | None) -> ForgottenRun | UnknownRun:
    """Return whether an id without a record may have been used by this owner, or by anybody if `owner` is None.

    Raises sqlite3.Error.
    """
    created = created_at(id)
    if created is not None:
        horizons = db.execute("SELECT max(horizon) FROM owner WHERE ? IS NULL OR name IN ('', ?)", (owner, owner))
        (horizon,) = horizons.fetchone()
        if created <= horizon:
            return ForgottenRun(
                f"a run with the id {id} may already have been forgotten: according to its id, it was created before "
                "anything that is remembered here; if the run is new, the clock of the client or of the service is slow"
            )
    owners = [found for (found,) in db.execute("SELECT owner FROM forgotten WHERE id = ?", (id_bytes(id),))]
    if owners if owner is None else not {EVERYBODY, owner}.isdisjoint(owners):
        return ForgottenRun(f"a run with the id {id} was already started, and its outcome has been forgotten")
    return UnknownRun()


def _trim_ids(db: sqlite3.Connection, wall: float) -> None:
    """Drop the oldest ids of the owner who has the most of them, if there are too many."""
    kept, owner, _ = db.execute("SELECT sum(forgotten), name, max(forgotten) FROM owner").fetchone()
    if kept <= MAX_FORGOTTEN_IDS:
        return
    dropped = db.execute(
        "DELETE FROM forgotten WHERE n IN (SELECT n FROM forgotten WHERE owner = ? ORDER BY n LIMIT ?) RETURNING id",
        (owner, 2 * PRUNE_SLICE),
    ).fetchall()
    for (raw,) in dropped:
        created = created_at(id_text(raw))
        if created is not None and created <= wall:
            raise_horizon(db, owner, created)
