"""How runs whose ids begin with a prefix are searched for at a bounded cost."""

from __future__ import annotations

import sqlite3
from typing import Final

FEW_RUNS: Final = 100
"""Runs that are read and sorted at once to answer a request for those with a prefix: about 0.4 ms."""

LOOKED_THROUGH: Final = 1000
"""Runs that are looked through at once for those with a prefix, if there are more of these: about 0.3 ms."""


def is_rare(db: sqlite3.Connection, prefix: str) -> bool:
    """Return whether so few ids begin with `prefix` that it is cheaper to read all of those runs than to search among
    all runs of an owner. False if the database cannot be read: the same error is handled where the runs are read."""
    counted = "SELECT count(*) FROM (SELECT 1 FROM record WHERE id >= ? AND id < ? LIMIT ?)"
    try:
        (count,) = db.execute(counted, (prefix, prefix + "g", FEW_RUNS + 1)).fetchone()
    except sqlite3.Error:
        return False
    return bool(count <= FEW_RUNS)


def last_looked_through(db: sqlite3.Connection, before: str | None) -> str | None:
    """Return the oldest of the runs to look through for a page that begins before a run; None if it may be any, or if
    the database cannot be read."""
    where, values = ("", ()) if before is None else ("WHERE n < (SELECT n FROM record WHERE id = ?)", (before,))
    oldest = f"SELECT id FROM record {where} ORDER BY n DESC LIMIT 1 OFFSET ?"  # nosec B608  # one of the two above
    try:
        found = db.execute(oldest, (*values, LOOKED_THROUGH - 1)).fetchone()
    except sqlite3.Error:
        return None
    return None if found is None else str(found[0])
