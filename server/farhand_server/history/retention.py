"""What is forgotten when, and how a forgotten id is told from one that was never used.

A run's record goes; its id must not be started anew. UUIDv7 ids say when they were made, so one number does for most:
the horizon. An id made at or before it, without a record, has expired. Ids that the horizon cannot cover (of other
versions, or made less than `SLACK` ago, or in the future) are kept by themselves, `FORGOTTEN` of them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from farhand_server.config import HistorySettings

from .records import Expired, Unknown, made_at

SLICE: Final = 32
"""Records removed at once, about 0.3 ms: a flush with starts in it never waits for more."""

SLACK: Final = 3600.0
"""Seconds by which the horizon stays behind the clock, so that a client whose clock is slow by less is not refused."""

FORGOTTEN: Final = 250_000
"""Ids kept without their records, about 12 MB."""


@dataclass(slots=True)
class Totals:
    """What the table of records holds, in records and bytes, and the horizon in seconds since 1970."""

    records: int
    bytes: int
    horizon: float

    def copy(self) -> Totals:
        """Return another with the same numbers."""
        return Totals(self.records, self.bytes, self.horizon)


def encoded(id: str) -> bytes:
    """Return an id as it stands among the forgotten: 16 bytes."""
    return bytes.fromhex(id.replace("-", ""))


def prune(db: sqlite3.Connection, totals: Totals, settings: HistorySettings, *, clock: float, wall: float) -> int:
    """Remove ended runs beyond the retention, the oldest first and `SLICE` at most; return how many went.

    `clock` is the retention's own time, `wall` the time of day. Raises sqlite3.Error.
    """
    oldest = db.execute(
        "SELECT n, id, size, clock FROM record WHERE outcome IS NOT NULL ORDER BY n LIMIT ?", (SLICE,)
    ).fetchall()
    gone = []
    for n, id, size, ended in oldest:
        beyond = totals.records > settings.max_runs or totals.bytes > settings.max_size
        if beyond or ended < clock - settings.max_age:
            gone.append((n,))
            totals.records -= 1
            totals.bytes -= size
            made = made_at(id)
            if made is not None and made <= wall - SLACK:
                totals.horizon = max(totals.horizon, made)
            else:
                remember(db, id)
    if gone:
        db.executemany("DELETE FROM record WHERE n = ?", gone)
        _trim(db, totals, wall)
    return len(gone)


def remember(db: sqlite3.Connection, id: str) -> None:
    """Keep an id without its record. Raises sqlite3.Error."""
    db.execute("INSERT OR IGNORE INTO forgotten (id) VALUES (?)", (encoded(id),))


def _trim(db: sqlite3.Connection, totals: Totals, wall: float) -> None:
    # Both ends are a look at the index; they are numbered without holes, but for the few that came twice.
    first, last = db.execute("SELECT (SELECT min(n) FROM forgotten), (SELECT max(n) FROM forgotten)").fetchone()
    if first is None or last - first < FORGOTTEN:
        return
    dropped = db.execute("DELETE FROM forgotten WHERE n < ? RETURNING id", (first + 2 * SLICE,)).fetchall()
    for (raw,) in dropped:
        digits = raw.hex()
        made = made_at("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
        if made is not None and made <= wall:
            totals.horizon = max(totals.horizon, made)


def judge(db: sqlite3.Connection, totals: Totals, id: str) -> Expired | Unknown:
    """Say of an id without a record whether a run of it may have been. Raises sqlite3.Error."""
    made = made_at(id)
    if made is not None and made <= totals.horizon:
        return Expired(
            f"a run with the id {id} may have been forgotten already, since the id says that it was made before "
            "what is remembered here; if the run is new, the clock of the client or of the service is slow"
        )
    if db.execute("SELECT 1 FROM forgotten WHERE id = ?", (encoded(id),)).fetchone():
        return Expired(f"a run with the id {id} was started before, and what became of it has been forgotten")
    return Unknown()
