"""Writes changes into the database, many in one transaction. If that fails, they are kept and retried."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from pathlib import Path
from typing import Any, Final

from farhand_server.config import HistorySettings
from farhand_server.filewatch import FileId, file_id
from farhand_server.logs import Logger

from . import database, records, retention
from .recent_ids import RecentIds
from .records import COLUMNS, HistoryError, RecordChange, RunRecord
from .retention import RetentionClock, SystemClock

LOST_OUTCOME: Final = b'{"status":"lost"}'

PRUNE_EVERY: Final = 16
"""Starts between two pruning slices: half as many as a slice deletes, so that pruning catches up."""

SAVE_EVERY: Final = 10.0
"""Seconds after which a transaction also saves the clocks. Boot time goes on between two of these, so only a restart of
the machine could lose time, and it is measured by the wall clock since the last one."""

MAX_PENDING_CHANGES: Final = 10_000
"""Maximum number of changes kept while they cannot be written, about 10 MB: the starts and ends of a few thousand
runs."""

NOT_STARTED: Final = "a run whose start cannot be recorded is not started (history.required)"

_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM record "  # nosec B608  # names from this program alone


class HistoryWriter:
    """The database of one history, and the changes that are not in it yet. `file` is None for a history in memory."""

    def __init__(
        self, db: sqlite3.Connection, file: Path | None, settings: HistorySettings, log: Logger, clock: SystemClock
    ) -> None:
        self.db = db
        self.file = file
        self.settings = settings
        self.clock = clock
        self.pending: deque[RecordChange] = deque()
        self.opened: dict[Path, FileId] = {}
        """The database's files as they were when it was opened; see `History.opened`."""
        self.changes_since_checkpoint = 0
        """Changes written since this was last set to 0."""
        self._log = log
        self._batch: list[RecordChange] = []
        self._refused: set[str] = set()
        self._fault: str | None = None
        self._dropped = 0
        self._starts = 0
        self._saved_at = 0.0
        self._load()
        self.recent_ids = RecentIds.read(db, clock.wall())
        self._expire_ids()

    @property
    def dirty(self) -> bool:
        """Whether there is something for `flush` to do."""
        return bool(self.pending or self._batch or self._refused)

    def begin(self, *, resumed: bool, damaged: bool) -> tuple[RunRecord, ...]:
        """Start using the database, and return the lost runs that may still have processes.

        With `resumed`, runs that have not ended still belong to this process. `damaged` means that this database
        replaces one that had records which it lacks. Raises sqlite3.Error.
        """
        self.db.execute("BEGIN IMMEDIATE")
        # A commit survives a crash of the service at once, but a crash of the machine only after a while (synchronous =
        # NORMAL), so the last ids may then be missing.
        if damaged or (self._other_boot and not self._was_closed):
            retention.raise_horizon(self.db, retention.EVERYBODY, self.clock.wall())
        lost = self._mark_lost() if not resumed else ()
        self._prune()
        self._save()
        self.db.execute("COMMIT")
        self._note_files()
        return lost

    def apply(self) -> None:
        """Write the pending changes into the open transaction, so that reads see them."""
        if not self.pending:
            return
        if len(self.pending) > 1:
            self.pending = deque(records.merged(self.pending))
        try:
            if not self.db.in_transaction:
                self.db.execute("BEGIN IMMEDIATE")
            while self.pending:
                self._write(self.pending[0])
                self._batch.append(self.pending.popleft())
        except sqlite3.Error as error:
            self.failed(error)

    def flush(self) -> None:
        """Write all pending changes, as `History.flush` describes."""
        self.apply()
        if self.db.in_transaction:
            try:
                if self._starts >= PRUNE_EVERY:
                    self._starts = 0
                    self._prune()
                if self.clock.boottime() - self._saved_at >= SAVE_EVERY:
                    self._save()
                self.db.execute("COMMIT")
            except sqlite3.Error as error:
                self.failed(error)
            else:
                self._succeeded()
        self._raise_refused()

    def keep(self, error: BaseException) -> None:
        """Keep the changes that may wait, because of an error of the database that will be opened. Raises
        `HistoryError` with the ids of the runs whose starts cannot wait."""
        self._fault = unusable_reason(self.file, error)  # which was logged when opening has failed
        self.failed(error)
        self._raise_refused()

    def abandon(self) -> None:
        """Close without writing: the database was never opened."""
        self._report_unwritten()
        self.db.close()

    def close(self, *, final: bool) -> None:
        """Write pending changes and close the database. `final` is false if another program will resume the active
        runs."""
        try:
            self.flush()
            self._save()
            if final and not self.pending:
                self.db.execute("UPDATE state SET closed = 1")
        except (HistoryError, sqlite3.Error):
            pass  # nobody is waiting for these starts any more, and without `closed` the next start assumes a crash
        self._report_unwritten()
        self.db.close()

    @property
    def fault(self) -> str | None:
        """Why the last attempt to write has failed; None if it has not."""
        return self._fault

    def failed(self, error: BaseException) -> None:
        """Roll back, and keep the changes that may wait as pending. Replace a damaged database."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        unwritten = [*self._batch, *self.pending]
        self._batch.clear()
        if self.settings.required:
            self._refused.update(change.id for change in unwritten if change.record is not None)
            unwritten = [change for change in unwritten if change.id not in self._refused]
        self._dropped += max(0, len(unwritten) - MAX_PENDING_CHANGES)
        self.pending = deque(unwritten[-MAX_PENDING_CHANGES:])
        if self._fault is None:
            self._log.error("history cannot be used; ends of runs are kept in memory", reason=str(error))
        self._fault = unusable_reason(self.file, error)
        if self.file is not None and isinstance(error, sqlite3.Error) and database.is_damage(error):
            self._replace(self.file, error)
        elif self.file is not None and database.has_lost_lock(error):
            self._reopen(self.file)

    def sentence(self, error: BaseException) -> str:
        """Return the sentence for an error of this database."""
        return unusable_sentence(self.file, error)

    def _raise_refused(self) -> None:
        refused, self._refused = self._refused, set()
        if refused:
            fault = "a run with this id was started before" if self._fault is None else f"{self._fault}; {NOT_STARTED}"
            raise HistoryError(fault, frozenset(refused))

    def _report_unwritten(self) -> None:
        if self.pending:
            self._log.error("history is incomplete: ends of runs could not be written", count=len(self.pending))

    def _load(self) -> None:
        row = self.db.execute("SELECT clock, wall, boottime, boot_id, closed FROM state")
        value, wall, boottime, boot_id, self._was_closed = row.fetchone()
        self._boot_id = self.clock.boot_id()
        self._other_boot: bool = boot_id not in ("", self._boot_id)
        self.age = RetentionClock(self.clock, value=value, wall=wall, boottime=boottime, boot_id=boot_id)

    def _note_files(self) -> None:
        files = () if self.file is None else (self.file, self.file.with_name(f"{self.file.name}-wal"))
        self.opened = {file: found for file in files if (found := file_id(file)) is not None}

    def _mark_lost(self) -> tuple[RunRecord, ...]:
        self.db.execute(
            "UPDATE record SET outcome = ?, unswept = 1, clock = ?, size = size + ? WHERE outcome IS NULL",
            (LOST_OUTCOME, self.age.now(), len(LOST_OUTCOME)),
        )
        return tuple(select_records(self.db, "WHERE unswept = 1 ORDER BY n", ()))

    def _write(self, change: RecordChange) -> None:
        rows = self.db.execute(change.sql, change.values).rowcount
        if rows:
            self._starts += change.record is not None
        elif change.record is not None:
            self._refused.add(change.id)
        elif change.ends:
            retention.remember_id(self.db, change.id)  # the run's record was in a damaged database
            self.recent_ids.add(change.id)

    def _replace(self, file: Path, error: sqlite3.Error) -> None:
        self.db.close()
        try:
            self.db = database.replace_damaged(file, error, self._log)
        except (OSError, sqlite3.Error, HistoryError):
            self.db, self.file = database.connect(None), None
            self._log.error("history is kept only in memory until the service ends", reason=str(error))
        self._load()
        self._note_files()
        with contextlib.suppress(sqlite3.Error):  # it would fail again at the next write, which is logged
            retention.raise_horizon(self.db, retention.EVERYBODY, self.clock.wall())
            self._expire_ids()

    def _reopen(self, file: Path) -> None:
        self.db.close()
        try:
            self.db = database.connect(file)
        except (OSError, sqlite3.Error, HistoryError) as error:
            self.db, self.file = database.connect(None), None
            self._log.error("history is kept only in memory until the service ends", reason=str(error))
        self._note_files()

    def _succeeded(self) -> None:
        self.changes_since_checkpoint += len(self._batch)
        self._batch.clear()
        if self._fault is not None:
            self._fault = None
            self._log.info("history can be written again", dropped=self._dropped)
            self._dropped = 0

    def _prune(self) -> None:
        retention.prune(self.db, self.settings, clock=self.age.now(), wall=self.age.trusted_wall())
        self._expire_ids()

    def _expire_ids(self) -> None:
        (horizon,) = self.db.execute("SELECT max(horizon) FROM owner").fetchone()
        self.recent_ids.expire(horizon)

    def _save(self) -> None:
        clock = self.clock
        self._saved_at = clock.boottime()
        self.db.execute(
            "UPDATE state SET clock = ?, wall = ?, boottime = ?, boot_id = ?, closed = 0",
            (self.age.now(), clock.wall(), clock.boottime(), self._boot_id),
        )


def select_records(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[RunRecord]:
    """Return the records selected by a WHERE clause with any ORDER BY and LIMIT. Raises sqlite3.Error."""
    rows: list[tuple[Any, ...]] = db.execute(_SELECT + where, values).fetchall()
    found = (dict(zip(COLUMNS, row, strict=True)) for row in rows)
    return [RunRecord(**record | {"lingered": bool(record["lingered"])}) for record in found]


def unusable_sentence(file: Path | None, error: BaseException) -> str:
    """Return the sentence for a history that cannot be used."""
    return str(error) if isinstance(error, HistoryError) else f"{unusable_reason(file, error)}; {NOT_STARTED}"


def unusable_reason(file: Path | None, error: BaseException) -> str:
    """Return why a history cannot be used."""
    if isinstance(error, HistoryError):
        return str(error)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"the history {file or 'in memory'} cannot be used: {reason}"
