"""Changes on their way into the database: one transaction for many, kept and tried again where it fails."""

from __future__ import annotations

import sqlite3
from collections import deque
from pathlib import Path
from typing import Any, Final

from farhand_server.config import HistorySettings
from farhand_server.logs import Logger

from . import opening, retention
from .changes import COLUMNS, Change
from .clock import Clock, RetentionClock
from .records import HistoryError, Record

LOST: Final = b'{"status":"lost"}'

PRUNE_EVERY: Final = 16
"""Starts between two slices of pruning: half as many as a slice removes, so that it catches up."""

MAX_WAITING: Final = 10_000
"""Changes kept while they cannot be written, some 10 MB: the starts and ends of a few thousand runs."""

_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM record "


class Writer:
    """The database of one history, and what waits to be in it. `file` is None where it is kept in memory."""

    def __init__(
        self, db: sqlite3.Connection, file: Path | None, settings: HistorySettings, log: Logger, clock: Clock
    ) -> None:
        self.db = db
        self.file = file
        self.settings = settings
        self.clock = clock
        self.waiting: deque[Change] = deque()
        self.changes = 0
        """Written since this was last set to 0."""
        self._log = log
        self._batch: list[Change] = []
        self._refused: set[str] = set()
        self._fault: str | None = None
        self._dropped = 0
        self._starts = 0
        self.totals = self._committed = retention.Totals(0, 0, 0.0)
        self._load()

    @property
    def dirty(self) -> bool:
        """Whether there is something for `flush` to do."""
        return bool(self.waiting or self._batch or self._refused)

    def begin(self, *, resumed: bool, damaged: bool) -> tuple[Record, ...]:
        """Begin to use the database; return the lost runs of which processes may be left.

        `resumed`: the runs under way are still ours. `damaged`: this one replaces another. Raises sqlite3.Error.
        """
        self.db.execute("BEGIN IMMEDIATE")
        # A commit is safe from the service's end at once, and from the machine's only after a while (synchronous =
        # NORMAL): the last ids may be missing then.
        if damaged or (self._other_boot and not self._was_closed):
            self.totals.horizon = max(self.totals.horizon, self.clock.wall())
        lost = self._lose() if not resumed else ()
        self._prune()
        self._save()
        self.db.execute("COMMIT")
        self._committed = self.totals.copy()
        return lost

    def apply(self) -> None:
        """Write what waits into the open transaction, so that reads see it."""
        if not self.waiting:
            return
        try:
            if not self.db.in_transaction:
                self.db.execute("BEGIN IMMEDIATE")
            while self.waiting:
                self._write(self.waiting[0])
                self._batch.append(self.waiting.popleft())
        except sqlite3.Error as error:
            self.failed(error)

    def flush(self) -> None:
        """See `History.flush`."""
        self.apply()
        if self.db.in_transaction:
            try:
                if self._starts >= PRUNE_EVERY:
                    self._starts = 0
                    self._prune()
                self._save()
                self.db.execute("COMMIT")
            except sqlite3.Error as error:
                self.failed(error)
            else:
                self._succeeded()
        refused, self._refused = self._refused, set()
        if refused:
            raise HistoryError(self._fault or "a run with this id was started before", frozenset(refused))

    def close(self, *, for_good: bool) -> None:
        """Write what there is and close; `for_good` where nobody resumes the runs under way."""
        try:
            self.flush()
            if for_good and not self.waiting:
                self.db.execute("UPDATE state SET closed = 1")
        except (HistoryError, sqlite3.Error):
            pass  # starts that nobody waits for any more; and one who did not take leave was cut short
        if self.waiting:
            self._log.error("history is not complete: ends of runs could not be written", count=len(self.waiting))
        self.db.close()

    def failed(self, error: sqlite3.Error) -> None:
        """Take back what is not committed, and keep what may wait; a damaged database is replaced."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self.totals = self._committed.copy()
        unwritten = [*self._batch, *self.waiting]
        self._batch.clear()
        if self.settings.required:
            self._refused.update(change.id for change in unwritten if change.record is not None)
            unwritten = [change for change in unwritten if change.id not in self._refused]
        self._dropped += max(0, len(unwritten) - MAX_WAITING)
        self.waiting = deque(unwritten[-MAX_WAITING:])
        if self._fault is None:
            self._log.error("history cannot be used; ends of runs wait to be written", reason=str(error))
        self._fault = self.sentence(error)
        if self.file is not None and opening.is_damage(error):
            self._replace(self.file, error)

    def sentence(self, error: BaseException) -> str:
        """What to tell of an error of the database's."""
        return sentence(self.file, error)

    def _load(self) -> None:
        row = self.db.execute("SELECT records, bytes, horizon, clock, wall, boottime, boot_id, closed FROM state")
        records, size, horizon, value, wall, boottime, boot_id, self._was_closed = row.fetchone()
        self.totals = retention.Totals(records, size, horizon)
        self._committed = self.totals.copy()
        self._boot_id = self.clock.boot_id()
        self._other_boot: bool = boot_id not in ("", self._boot_id)
        self.age = RetentionClock(self.clock, value=value, wall=wall, boottime=boottime, boot_id=boot_id)

    def _lose(self) -> tuple[Record, ...]:
        lost = self.db.execute(
            "UPDATE record SET outcome = ?, unswept = 1, clock = ?, size = size + ? WHERE outcome IS NULL",
            (LOST, self.age.now(), len(LOST)),
        )
        self.totals.bytes += len(LOST) * lost.rowcount
        return tuple(select(self.db, "WHERE unswept = 1 ORDER BY n", ()))

    def _write(self, change: Change) -> None:
        found = self.db.execute(change.sql, change.values).rowcount
        if found:
            self.totals.bytes += change.size
            if change.record is not None:
                self._starts += 1
                self.totals.records += 1
        elif change.record is not None:
            self._refused.add(change.id)
        elif change.ends:
            retention.remember(self.db, change.id)  # its record went with a damaged database

    def _replace(self, file: Path, error: sqlite3.Error) -> None:
        self.db.close()
        try:
            self.db = opening.anew(file, error, self._log)
        except (OSError, sqlite3.Error, HistoryError):
            self.db, self.file = opening.connect(None), None
            self._log.error("history is kept in memory alone, until the service ends", reason=str(error))
        self._load()
        self.totals.horizon = self._committed.horizon = self.clock.wall()

    def _succeeded(self) -> None:
        self.changes += len(self._batch)
        self._batch.clear()
        self._committed = self.totals.copy()
        if self._fault is not None:
            self._fault = None
            self._log.info("history is written again", dropped=self._dropped)
            self._dropped = 0

    def _prune(self) -> None:
        retention.prune(self.db, self.totals, self.settings, clock=self.age.now(), wall=self.age.trusted_wall())

    def _save(self) -> None:
        clock = self.clock
        self.db.execute(
            "UPDATE state SET records = ?, bytes = ?, horizon = ?, clock = ?, wall = ?, boottime = ?, boot_id = ?, "
            "closed = 0",
            (
                *(self.totals.records, self.totals.bytes, self.totals.horizon),
                *(self.age.now(), clock.wall(), clock.boottime(), self._boot_id),
            ),
        )


def select(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Record]:
    """Return the records that a WHERE clause and what follows it choose. Raises sqlite3.Error."""
    rows: list[tuple[Any, ...]] = db.execute(_SELECT + where, values).fetchall()
    return [Record(*(*row[:-1], bool(row[-1]))) for row in rows]


def sentence(file: Path | None, error: BaseException) -> str:
    """What to tell of a history that cannot be used."""
    if isinstance(error, HistoryError):
        return str(error)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return (
        f"the history {file or 'in memory'} cannot be used: {reason}; no run is started that cannot be written down "
        "first (history.required)"
    )
