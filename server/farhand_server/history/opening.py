"""Opening history.db: made where there is none, put aside where it is damaged."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from farhand_server.logs import Logger

from .schema import migrate

NAME: Final = "history.db"

BUSY: Final = 0.1
"""Seconds that a write waits for another program that writes; the service stands still meanwhile. Readers never make
it wait (sqlite.org/wal.html)."""

CHECKPOINT: Final = 10_000
"""Pages (40 MiB) in the write-ahead log after which a commit moves them to the database itself, with its fsyncs. The
service does that sooner, in a thread; this bounds the file where the thread does not come to it."""

KEPT_DAMAGED: Final = 3
"""Damaged files kept for whoever wants to look into them: a bad disk must not be filled with them as well."""

_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is no sound database, rather than that it cannot be read or written now."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def connect(file: Path | None) -> sqlite3.Connection:
    """Open a history, with tables of this version, in a file (0600 where it is made) or, for None, in memory.

    Raises sqlite3.Error, OSError or `HistoryError`.
    """
    if file is not None:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(file or ":memory:", timeout=BUSY, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        db.execute("PRAGMA trusted_schema = OFF")
        migrate(db)
        _probe(db)
    except BaseException:
        db.close()
        raise
    return db


def _probe(db: sqlite3.Connection) -> None:
    try:
        db.execute("SELECT * FROM record ORDER BY n DESC LIMIT 1").fetchall()
        sound = db.execute("SELECT count(*) FROM state").fetchone() == (1,)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        sound = False  # a table or a column is missing
    if not sound:
        damage = sqlite3.DatabaseError("its tables are not those of a history")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def anew(file: Path, error: sqlite3.Error, log: Logger) -> sqlite3.Connection:
    """Put a damaged history aside and begin another, and say so. Raises as `connect` does."""
    aside = put_aside(file)
    log.error("history was damaged and is begun anew; runs from before count as expired", kept=aside, reason=str(error))
    return connect(file)


def put_aside(file: Path) -> Path:
    """Rename a damaged database, with its write-ahead log, and return its new name. Raises OSError."""
    prefix = f"{file.name}.corrupt-"
    numbers = [int(found.name[len(prefix) :]) for found in file.parent.glob(f"{prefix}*") if _numbered(found, prefix)]
    number = max(numbers, default=0) + 1
    aside = file.with_name(f"{prefix}{number}")
    for suffix in ("-wal", "-shm", ""):
        source = file.with_name(file.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
        for old in numbers:
            if old <= number - KEPT_DAMAGED:
                file.with_name(f"{prefix}{old}{suffix}").unlink(missing_ok=True)
    return aside


def _numbered(file: Path, prefix: str) -> bool:
    return file.name[len(prefix) :].isdecimal()


def checkpoint(file: Path) -> None:
    """Move what is in the write-ahead log to the database itself, as far as no reader needs it; from any thread."""
    db = sqlite3.connect(file, timeout=0, isolation_level=None)
    try:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        db.close()
