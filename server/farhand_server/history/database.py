"""The file history.db: locks its directory, creates its tables, opens it, and replaces it if it is damaged."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from farhand_server.logs import Logger

from .records import HistoryError

LOCK_FILE: Final = "history.lock"
DATABASE_FILE: Final = "history.db"

REPLACED_FILE: Final = "history.replaced"
"""An empty file that says: the database may lack runs that were started, so ids created before the next start of the
service count as expired. The service creates it if a file of the history is removed or replaced while it is in use."""

BUSY_TIMEOUT: Final = 0.1
"""Seconds that a write waits while another program writes. The whole service waits meanwhile. Readers never cause a
wait (sqlite.org/wal.html)."""

PAGE_SIZE: Final = 2048
"""Bytes of a page of a new database. A transaction writes each page that it has changed, twelve for a run of its own,
and computes its checksum; with pages of 4096 bytes, the default, that takes a fifth longer."""

CHECKPOINT_SIZE: Final = 40 << 20
"""Bytes in the write-ahead log after which a commit itself moves them into the database, with the necessary
fsyncs. The service does that earlier, in a thread; this bounds the file if the thread is late."""

MAX_IDLE_LOG: Final = CHECKPOINT_SIZE
"""Bytes to which the write-ahead log is truncated once it has been moved into the database. It grows beyond that while
another program keeps reading the database."""

MAX_DAMAGED_FILES: Final = 3
"""Damaged files kept for inspection. A bad disk must not also fill up with them."""

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TEMPORARY: Final = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
)
_TEMPORARY_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

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
        closed INTEGER NOT NULL         -- whether the last service closed it
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
    """
    ALTER TABLE record ADD COLUMN left_processes BLOB;
    DROP VIEW runs;
    CREATE VIEW runs AS SELECT
        id, owner, uid, how AS login, fingerprint AS key, peer,
        CASE WHEN outcome IS NULL THEN 'running' ELSE json_extract(CAST(outcome AS TEXT), '$.status') END AS status,
        json_extract(CAST(outcome AS TEXT), '$.code') AS code,
        json_extract(CAST(outcome AS TEXT), '$.signal') AS signal,
        strftime('%Y-%m-%dT%H:%M:%SZ', requested_at, 'unixepoch') AS requested,
        strftime('%Y-%m-%dT%H:%M:%SZ', ended_at, 'unixepoch') AS ended,
        duration, stdout AS stdout_bytes, stderr AS stderr_bytes, lingered,
        CAST(left_processes AS TEXT) AS left_processes, pid, cgroup,
        CAST(request AS TEXT) AS request, CAST(outcome AS TEXT) AS outcome, CAST(usage AS TEXT) AS usage
    FROM record ORDER BY n;
    """,
    "ALTER TABLE record ADD COLUMN mark INTEGER;",
    """
    CREATE TABLE owner (
        name TEXT PRIMARY KEY,          -- '' stands for everybody
        records INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
        forgotten INTEGER NOT NULL DEFAULT 0,
        horizon REAL NOT NULL DEFAULT 0 -- an id made at or before it, without a record, has expired for this owner
    ) WITHOUT ROWID;
    INSERT INTO owner (name, records, bytes) SELECT owner, count(*), sum(size) FROM record GROUP BY owner;
    INSERT OR IGNORE INTO owner (name) VALUES ('');

    ALTER TABLE forgotten RENAME TO forgotten_by_all;
    CREATE TABLE forgotten (n INTEGER PRIMARY KEY, owner TEXT NOT NULL, id BLOB NOT NULL, UNIQUE (id, owner));
    INSERT INTO forgotten SELECT n, '', id FROM forgotten_by_all;
    DROP TABLE forgotten_by_all;
    CREATE INDEX forgotten_of_owner ON forgotten (owner, n);
    UPDATE owner SET forgotten = (SELECT count(*) FROM forgotten), horizon = (SELECT horizon FROM state)
        WHERE name = '';
    ALTER TABLE state DROP COLUMN records;
    ALTER TABLE state DROP COLUMN bytes;
    ALTER TABLE state DROP COLUMN horizon;

    DROP INDEX record_of_owner;
    CREATE INDEX record_of_owner ON record (owner, n, id);
    CREATE INDEX record_ended_of_owner ON record (owner, n) WHERE outcome IS NOT NULL;
    CREATE INDEX record_by_end ON record (clock) WHERE outcome IS NOT NULL;

    CREATE TRIGGER record_added AFTER INSERT ON record BEGIN
        INSERT OR IGNORE INTO owner (name) VALUES (NEW.owner);
        UPDATE owner SET records = records + 1, bytes = bytes + NEW.size WHERE name = NEW.owner;
    END;
    CREATE TRIGGER record_grown AFTER UPDATE OF size ON record BEGIN
        UPDATE owner SET bytes = bytes + NEW.size - OLD.size WHERE name = NEW.owner;
    END;
    CREATE TRIGGER record_deleted AFTER DELETE ON record BEGIN
        UPDATE owner SET records = records - 1, bytes = bytes - OLD.size WHERE name = OLD.owner;
    END;
    CREATE TRIGGER forgotten_added AFTER INSERT ON forgotten BEGIN
        INSERT OR IGNORE INTO owner (name) VALUES (NEW.owner);
        UPDATE owner SET forgotten = forgotten + 1 WHERE name = NEW.owner;
    END;
    CREATE TRIGGER forgotten_deleted AFTER DELETE ON forgotten BEGIN
        UPDATE owner SET forgotten = forgotten - 1 WHERE name = OLD.owner;
    END;
    """,
    """
    DROP INDEX record_ended_of_owner;
    DROP TRIGGER record_added;
    DROP TRIGGER record_grown;
    DROP TRIGGER record_deleted;
    UPDATE owner SET
        records = records - (SELECT count(*) FROM record WHERE outcome IS NULL AND owner = name),
        bytes = bytes - (SELECT coalesce(sum(size), 0) FROM record WHERE outcome IS NULL AND owner = name);
    -- An owner's records are counted once they have ended, which are those that can be deleted.
    CREATE TRIGGER record_ended AFTER UPDATE OF outcome ON record
    WHEN OLD.outcome IS NULL AND NEW.outcome IS NOT NULL BEGIN
        INSERT INTO owner (name, records, bytes) VALUES (NEW.owner, 1, NEW.size)
            ON CONFLICT (name) DO UPDATE SET records = records + 1, bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER record_grown AFTER UPDATE OF size ON record WHEN OLD.outcome IS NOT NULL BEGIN
        UPDATE owner SET bytes = bytes + NEW.size - OLD.size WHERE name = NEW.owner;
    END;
    CREATE TRIGGER record_deleted AFTER DELETE ON record WHEN OLD.outcome IS NOT NULL BEGIN
        UPDATE owner SET records = records - 1, bytes = bytes - OLD.size WHERE name = OLD.owner;
    END;
    """,
)
"""Step N converts the tables from version N to version N + 1; the version is kept in user_version. Only ever append
steps."""

SCHEMA_VERSION: Final = len(MIGRATIONS)


class StateDirectoryInUse(HistoryError):
    """Another core uses the state directory."""


def acquire_lock(state_dir: Path) -> int:
    """Lock the state directory and return the lock's descriptor (flock(2)). Closing the descriptor releases the lock.

    Raises `StateDirectoryInUse` if another process holds the lock, and OSError from the file system.
    """
    descriptor = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StateDirectoryInUse(
            f"another farhandd already uses the state directory {state_dir}; stop it, or choose another directory with "
            "--state-dir"
        ) from None
    return descriptor


def adopt_lock(state_dir: Path, descriptor: int) -> int:
    """Take over the lock from the program that this one replaced in its process, under the same descriptor number.

    Raises `HistoryError` if the descriptor is not that lock.
    """
    try:
        ours, there = os.fstat(descriptor), os.stat(state_dir / LOCK_FILE)  # noqa: PTH116  # beside its fstat
        same = (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
    except OSError:
        same = False
    if not same:
        raise HistoryError(f"descriptor {descriptor} is not the lock of the state directory {state_dir}")
    os.set_inheritable(descriptor, False)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def connect(file: Path | None) -> sqlite3.Connection:
    """Open a history with tables of the current version, in a file (created with mode 0600) or, for None, in memory.

    Raises sqlite3.Error, OSError or `HistoryError`.
    """
    if file is not None:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(file or ":memory:", timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        (page_size,) = db.execute("PRAGMA page_size").fetchone()  # an earlier version has made larger pages
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_SIZE // page_size}")
        db.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_LOG}")
        db.execute("PRAGMA trusted_schema = OFF")
        migrate(db)
        _check_tables(db)
    except BaseException:
        db.close()
        raise
    return db


def migrate(connection: sqlite3.Connection) -> None:
    """Upgrade the tables to the current version. Each step is done completely or not at all.

    Raises `HistoryError` for tables of a later version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise HistoryError(
            f"history.db was written by a later farhandd (its version is {version}, the latest known here is "
            f"{SCHEMA_VERSION}); start that one again, or move the file away"
        )
    for number in range(version, SCHEMA_VERSION):
        connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")


def _check_tables(db: sqlite3.Connection) -> None:
    try:
        db.execute("SELECT * FROM record ORDER BY n DESC LIMIT 1").fetchall()
        db.execute("SELECT * FROM forgotten LIMIT 1").fetchall()
        found = db.execute("SELECT (SELECT count(*) FROM state), (SELECT count(*) FROM owner WHERE name = '')")
        sound = found.fetchone() == (1, 1)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        sound = False  # a table or a column is missing
    if not sound:
        damage = sqlite3.DatabaseError("its tables are not those of a history")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def checkpoint(file: Path) -> None:
    """Move the parts of the write-ahead log that no reader needs into the database. May be called in any thread."""
    db = sqlite3.connect(file, timeout=0, isolation_level=None)
    try:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        db.close()


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite reports that the file is damaged, rather than that it cannot be read or written now."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def has_lost_lock(error: BaseException) -> bool:
    """Return whether a connection does not get a lock that it has itself: fcntl(2) has failed to release one, which
    SQLite does not notice. Each use of that connection would then wait for ten seconds; a new one has no locks."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_PROTOCOL


def is_temporary(error: BaseException) -> bool:
    """Return whether an error may end without anybody changing the service: a full or read-only file system, a quota, a
    failing disk, or a lock."""
    if isinstance(error, OSError):
        return error.errno in _TEMPORARY_ERRNOS
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _TEMPORARY


def replace_damaged(file: Path, error: sqlite3.Error, log: Logger) -> sqlite3.Connection:
    """Move a damaged history aside, start a new one, and log that. Raises the same exceptions as `connect`."""
    aside = move_aside(file)
    log.error(
        "history was damaged and a new one was started; earlier runs count as expired", kept=aside, reason=str(error)
    )
    return connect(file)


def move_aside(file: Path) -> Path:
    """Rename a damaged database and its write-ahead log, and return the new name. Raises OSError."""
    prefix = f"{file.name}.corrupt-"
    suffixes = (found.name[len(prefix) :] for found in file.parent.glob(f"{prefix}*"))
    numbers = [int(suffix) for suffix in suffixes if suffix.isdecimal()]
    number = max(numbers, default=0) + 1
    aside = file.with_name(f"{prefix}{number}")
    for suffix in ("-wal", "-shm", ""):
        source = file.with_name(file.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
        for old in numbers:
            if old <= number - MAX_DAMAGED_FILES:
                file.with_name(f"{prefix}{old}{suffix}").unlink(missing_ok=True)
    return aside
