"""The tables of history.db, how they came to be, and the view that other programs read."""

from __future__ import annotations

import sqlite3
from typing import Final

from .records import HistoryError

MIGRATIONS: Final = (
    """
    CREATE TABLE record (
        n INTEGER PRIMARY KEY,          -- order of the starts, whatever the clock says
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL, uid INTEGER NOT NULL, how TEXT NOT NULL, fingerprint TEXT, peer TEXT,
        requested_at REAL NOT NULL, clock REAL NOT NULL, size INTEGER NOT NULL,
        pid INTEGER, start_ticks INTEGER, boot_id TEXT, cgroup TEXT,
        ended_at REAL, outcome BLOB, stdout INTEGER, stderr INTEGER, duration REAL, usage BLOB,
        lingered INTEGER NOT NULL DEFAULT 0,
        unswept INTEGER,                -- 1 while processes of a lost run may be left
        request_sha256 BLOB NOT NULL, request BLOB NOT NULL
    );
    CREATE INDEX record_of_owner ON record (owner, n);
    CREATE INDEX record_under_way ON record (n) WHERE outcome IS NULL;
    CREATE INDEX record_unswept ON record (n) WHERE unswept = 1;

    CREATE TABLE forgotten (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);

    CREATE TABLE state (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        records INTEGER NOT NULL, bytes INTEGER NOT NULL,
        horizon REAL NOT NULL,          -- an id made at or before it, without a record, has expired
        clock REAL NOT NULL, wall REAL NOT NULL, boottime REAL NOT NULL, boot_id TEXT NOT NULL,
        closed INTEGER NOT NULL         -- whether the last service took leave
    );
    INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0, '', 1);

    CREATE VIEW runs AS SELECT
        id, owner, uid, how AS login, fingerprint AS key, peer,
        CASE WHEN outcome IS NULL THEN 'running' ELSE json_extract(CAST(outcome AS TEXT), '$.status') END AS status,
        json_extract(CAST(outcome AS TEXT), '$.code') AS code,
        json_extract(CAST(outcome AS TEXT), '$.signal') AS signal,
        strftime('%Y-%m-%dT%H:%M:%SZ', requested_at, 'unixepoch') AS requested,
        strftime('%Y-%m-%dT%H:%M:%SZ', ended_at, 'unixepoch') AS ended,
        duration, stdout AS stdout_bytes, stderr AS stderr_bytes, lingered, pid, cgroup,
        CAST(request AS TEXT) AS request, CAST(outcome AS TEXT) AS outcome, CAST(usage AS TEXT) AS usage
    FROM record ORDER BY n;
    """,
)
"""What makes version N + 1 of the tables out of version N, kept in user_version. Only ever appended to."""

VERSION: Final = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to this version, each step whole or not at all.

    Raises `HistoryError` for tables of a later version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise HistoryError(
            f"history.db was written by a later farhandd (its version is {version}, the latest known here {VERSION}); "
            "start that one again, or move the file away"
        )
    for number in range(version, VERSION):
        connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
