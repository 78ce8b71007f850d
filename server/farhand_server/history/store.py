"""`History`, the interface of the history: records each start ahead of it, and finds runs by id and by owner."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from farhand_server.config import HistorySettings
from farhand_server.filewatch import FileId
from farhand_server.logs import Logger

from . import database, prefixes, records, retention
from .database import StateDirectoryInUse
from .records import HistoryError, KnownRun, RunLookup, RunRecord, UnknownRun
from .retention import SystemClock
from .writer import HistoryWriter, select_records, unusable_reason, unusable_sentence

CHECKPOINT_EVERY: Final = 1000
"""Changes after which the write-ahead log, up to 20 MiB by then, is worth moving into the database."""

RETRY_OPEN: Final = 1.0
"""Seconds between attempts to open a history that could not be opened, however many runs are requested meanwhile."""


class History:
    """One service's history. Changes are visible to reads at once, and durable after `flush`."""

    def __init__(
        self,
        state_dir: Path,
        settings: HistorySettings,
        log: Logger,
        clock: SystemClock,
        *,
        resume: int | None,
        on_lock: Callable[[], None],
    ) -> None:
        """Prepare a history that `open` opens."""
        self.lost: tuple[RunRecord, ...] = ()
        """Runs of a dead service that may still have processes; see `orphans_ended`."""
        self.on_opened: Callable[[], None] = lambda: None
        """Called if the history is opened later than by `open`; `lost` is known then."""
        self._file = state_dir / database.DATABASE_FILE
        self._settings = settings
        self._log = log
        self._clock = clock
        self._resume = resume
        self._on_lock = on_lock
        self._lock = -1
        self._lock_file: dict[Path, FileId] = {}
        self._in_place = True
        self._closed: BaseException | None = None
        """Why the history could not be opened; None if it is open."""
        self._retry_at = 0.0
        self._writer: HistoryWriter

    @classmethod
    def open(
        cls,
        state_dir: Path,
        settings: HistorySettings,
        log: Logger,
        *,
        resume: int | None = None,
        clock: SystemClock | None = None,
        on_lock: Callable[[], None] = lambda: None,
    ) -> Self:
        """Open the history of a state directory, and lock that directory for this process.

        Runs without an end belong to a service that died: they become lost, and `lost` lists them. With `resume`, which
        `hand_over` returned in the program that this one has replaced, they continue. `on_lock` is called once the
        directory belongs to this process alone. A damaged database is moved aside and a new one is started.

        If the directory is full or cannot be written now, the history is opened as soon as that is possible; until then
        no start can be recorded, and nothing can be looked up. Without `history.required`, it is instead kept in
        memory. Raises `StateDirectoryInUse` if another service uses the directory, and `HistoryError` if the history
        cannot be used for any other reason.
        """
        history = cls(state_dir, settings, log, clock or SystemClock(), resume=resume, on_lock=on_lock)
        try:
            history._open()
        except (HistoryError, OSError, sqlite3.Error) as error:
            history._open_failed(error)
        return history

    def _open(self) -> None:
        directory = self._file.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock < 0:
            if self._resume is None:
                self._lock = database.acquire_lock(directory)
                self._on_lock()
            else:
                self._lock = database.adopt_lock(directory, self._resume)
            locked = os.fstat(self._lock)
            self._lock_file[directory / database.LOCK_FILE] = (locked.st_dev, locked.st_ino)
        resumed = self._resume is not None
        self._writer, self.lost = _open_database(self._file, self._settings, self._log, self._clock, resumed=resumed)

    def _open_failed(self, error: HistoryError | OSError | sqlite3.Error) -> None:
        """Prepare to open the history later, or to do without it. Raises `HistoryError` if neither is possible."""
        if isinstance(error, StateDirectoryInUse):
            raise error
        required, sentence = self._settings.required, unusable_sentence(self._file, error)
        if required and self._resume is None and not database.is_temporary(error):
            if self._lock >= 0:
                os.close(self._lock)
            raise HistoryError(sentence) from None
        if required:
            self._closed = error
            self._retry_at = time.monotonic() + RETRY_OPEN
            self._log.error("history cannot be opened; no run is started until it can", reason=sentence)
        else:
            self._log.warning("history is kept only in memory until the service ends", reason=str(error))
        self._writer = HistoryWriter(database.connect(None), None, self._settings, self._log, self._clock)

    def try_open(self) -> bool:
        """Return whether the history is open; if it could not be opened before, try again."""
        if self._closed is None:
            return True
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + RETRY_OPEN
        before = self._writer
        try:
            self._open()
        except (HistoryError, OSError, sqlite3.Error) as error:
            self._closed = error
            return False
        self._closed = None
        self._writer.pending.extend(records.dated(change, self._writer.age.now()) for change in before.pending)
        for change in before.pending:
            self._writer.recent_ids.add(change.id)
        before.db.close()
        self._log.info("history can be used again")
        self.on_opened()
        return True

    @property
    def fault(self) -> str | None:
        """Why the history cannot be used now, as far as is known; None if it can."""
        if self._closed is not None:
            return unusable_reason(self._file, self._closed)
        return self._writer.fault

    def configure(self, settings: HistorySettings) -> None:
        """Apply a new retention from now on, after a reload of the configuration."""
        self._settings = self._writer.settings = settings

    def starting(self, record: RunRecord) -> None:
        """Record a run that is about to be started. Its id must be one for which `look_up` has returned `UnknownRun`.

        Start its program only after `flush` has returned without naming it.
        """
        self._writer.recent_ids.add(record.id)
        self._writer.pending.append(records.start_change(record, self._writer.age.now()))

    def started(
        self,
        id: str,
        pid: int,
        start_ticks: int | None,
        boot_id: str | None,
        cgroup: str | None,
        mark: int | None = None,
    ) -> None:
        """Record the process of a run, so that a later service can find it. See `RunRecord` for the units."""
        columns = {"pid": pid, "start_ticks": start_ticks, "boot_id": boot_id, "cgroup": cgroup, "mark": mark}
        self._writer.pending.append(records.started_change(id, columns))

    def ended(
        self,
        id: str,
        outcome: bytes,
        *,
        stdout: int,
        stderr: int,
        duration: float,
        usage: bytes | None = None,
        lingered: bool = False,
        left_processes: bytes | None = None,
    ) -> None:
        """Record a run's end. `outcome`, `usage` and `left_processes` are JSON, `stdout` and `stderr` are in bytes,
        `duration` is in seconds."""
        columns = {
            "ended_at": self._writer.clock.wall(),
            "outcome": outcome,
            "stdout": stdout,
            "stderr": stderr,
            "duration": duration,
            "usage": usage,
            "lingered": lingered,
            "left_processes": left_processes,
        }
        size = len(outcome) + len(usage or b"") + len(left_processes or b"")
        self._writer.pending.append(records.end_change(id, self._writer.age.now(), size, columns))

    def orphans_ended(self, ids: Iterable[str]) -> None:
        """Record that no process of these lost runs is left; until then, every `open` lists them again."""
        for id in ids:
            self._writer.pending.append(records.swept_change(id))

    @property
    def opened(self) -> Mapping[Path, FileId]:
        """The files of a history on disk as they were when they were opened.

        If one of them is removed or replaced, SQLite does not notice, and what it writes is lost with the process.
        """
        return {**self._writer.opened, **self._lock_file}

    @property
    def files(self) -> tuple[Path, ...]:
        """The paths of these files, whether or not they could be opened."""
        wal, lock = f"{database.DATABASE_FILE}-wal", database.LOCK_FILE
        return (self._file, self._file.with_name(wal), self._file.with_name(lock))

    def note_in_place(self, in_place: bool) -> None:
        """Note whether all files are where they were opened. If not, the next service does not trust what it finds.

        Until they are, no second connection is opened either: it would find another database or write-ahead log.
        """
        if self._writer.file is None or in_place == self._in_place:
            return
        self._in_place = in_place
        marker = self._writer.file.with_name(database.REPLACED_FILE)
        with contextlib.suppress(OSError):  # without the directory, `close` makes it
            marker.unlink(missing_ok=True) if in_place else marker.touch(0o600)

    @property
    def on_disk(self) -> bool:
        """Whether the history survives the process. `open` explains when it does not."""
        return self._writer.file is not None

    @property
    def dirty(self) -> bool:
        """Whether `flush` has anything to write."""
        return self._closed is not None or self._writer.dirty

    def flush(self) -> None:
        """Make all changes durable, in one transaction.

        On failure, all changes except starts remain pending for the next call, and the reason is logged once. If starts
        could not be written, this raises `HistoryError` with their ids in `ids`: those runs must not be started.
        Without `history.required`, starts remain pending, too, and nothing is raised.
        """
        if self.try_open():
            self._writer.flush()
        else:
            assert self._closed is not None
            self._writer.keep(self._closed)

    def close(self) -> None:
        """Write pending changes, mark the history as closed in order, and release the state directory.

        If files were removed, leave word for the next service, which would find a directory without them, or none.
        """
        if not self._in_place and self._writer.file is not None:
            with contextlib.suppress(OSError):
                self._writer.file.parent.mkdir(0o700, parents=True, exist_ok=True)
                self._writer.file.with_name(database.REPLACED_FILE).touch(0o600)
        if self._closed is None:
            self._writer.close(final=True)
        else:
            self._writer.abandon()
        if self._lock >= 0:
            os.close(self._lock)

    def hand_over(self) -> int | None:
        """Close the database but keep the lock, for the program that replaces this one by execve(2).

        Returns the descriptor for that program's `resume`, which child processes inherit from now on, or None for a
        history in memory. If the execve fails, open the history again with that descriptor.
        """
        self._writer.close(final=False)
        if self._writer.file is None:
            return None
        os.set_inheritable(self._lock, True)
        return self._lock

    @property
    def checkpoint_due(self) -> bool:
        """Whether the write-ahead log should be moved into the database."""
        on_disk = self._writer.file is not None and self._in_place
        return on_disk and self._writer.changes_since_checkpoint >= CHECKPOINT_EVERY

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database. This waits for the disk, so call it in a thread.

        Raises sqlite3.Error.
        """
        self._writer.changes_since_checkpoint = 0
        if self._writer.file is not None:
            database.checkpoint(self._writer.file)

    # Reading. Each of these methods raises HistoryError if the database cannot be read.

    def find(self, id: str) -> RunRecord | None:
        """Return the record of a run, or None."""
        return self._records("WHERE id = ?", (id,), only=id).get(id)

    def look_up(self, id: str, owner: str | None) -> RunLookup:
        """Return whether a run with this id is known, was forgotten, or never existed.

        What was forgotten is judged by `owner`: by their own records, or for None by everybody's.
        """
        if self._closed is None and self._writer.recent_ids.is_new(id):
            return UnknownRun()
        if (record := self.find(id)) is not None:
            return KnownRun(record)
        try:
            return retention.look_up_deleted(self._writer.db, id, owner)
        except sqlite3.Error as error:
            self._writer.failed(error)
            raise HistoryError(self._writer.sentence(error)) from None

    def recent(
        self, owner: str | None = None, *, limit: int = 100, before: str | None = None, prefix: str = ""
    ) -> tuple[list[RunRecord], str | None]:
        """Return the last runs whose id begins with `prefix`, newest first, of one owner or of all; and what to pass as
        `before` to get the next page, None if there is none.

        A page that is not the last one may have few runs or none: none looks through more than
        `prefixes.LOOKED_THROUGH` runs.
        """
        # A plus sign keeps SQLite from using an index for a condition (sqlite.org/optoverview.html).
        other = "+" if prefix and self._is_rare(prefix) else ""
        bottom = prefixes.last_looked_through(self._writer.db, before) if prefix and not other else None
        conditions, values = [f"{other}n > 0"], list[object]()
        if bottom is not None:  # the only condition of its kind, because SQLite uses one of them for its search
            conditions, values = ["n >= (SELECT n FROM record WHERE id = ?)"], [bottom]
        if owner is not None:
            conditions.append(f"{other}owner = ?")
            values.append(owner)
        if before is not None:
            conditions.append(other + "n < (SELECT n FROM record WHERE id = ?)")  # nosec B608  # "" or "+"
            values.append(before)
        if prefix:
            conditions.append("id >= ? AND id < ?")
            values += [prefix, prefix + "g"]  # g sorts after all characters of an id
        found = self._records(f"WHERE {' AND '.join(conditions)} ORDER BY {other}n DESC LIMIT ?", (*values, limit))
        wanted = [r for r in found.values() if owner in (None, r.owner) and r.id.startswith(prefix)][:limit]
        return wanted, wanted[-1].id if len(wanted) == limit else bottom

    def _is_rare(self, prefix: str) -> bool:
        if not self.try_open():
            return False
        self._writer.apply()
        return prefixes.is_rare(self._writer.db, prefix)

    def _records(self, where: str, values: tuple[object, ...], *, only: str | None = None) -> dict[str, RunRecord]:
        if not self.try_open():
            assert self._closed is not None
            raise HistoryError(unusable_sentence(self._file, self._closed))
        writer = self._writer
        writer.apply()
        try:
            rows = select_records(writer.db, where, values)
        except sqlite3.Error as error:
            writer.failed(error)
            raise HistoryError(writer.sentence(error)) from None
        return records.overlay(rows, (change for change in writer.pending if only in (None, change.id)))


def _open_database(
    file: Path, settings: HistorySettings, log: Logger, clock: SystemClock, *, resumed: bool
) -> tuple[HistoryWriter, tuple[RunRecord, ...]]:
    """Return the writer of an open database and the runs that were lost. Raises sqlite3.Error, OSError or
    `HistoryError`."""
    db: sqlite3.Connection | None = None
    try:
        db = database.connect(file)
        writer = HistoryWriter(db, file, settings, log, clock)
        marker = file.with_name(database.REPLACED_FILE)
        replaced = marker.exists()
        lost = writer.begin(resumed=resumed, damaged=replaced)
        if replaced:
            log.warning("history was replaced while it was in use; ids created before now count as expired")
            marker.unlink(missing_ok=True)
        return writer, lost
    except sqlite3.Error as error:
        if db is not None:
            db.close()
        if not database.is_damage(error):
            raise
        writer = HistoryWriter(database.replace_damaged(file, error, log), file, settings, log, clock)
        return writer, writer.begin(resumed=resumed, damaged=True)
