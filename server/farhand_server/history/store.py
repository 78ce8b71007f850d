"""`History`, the interface of the history: records each start ahead of it, and finds runs by id and by owner."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from farhand_server.config import HistorySettings
from farhand_server.filewatch import FileId
from farhand_server.logs import Logger

from . import database, records, retention
from .database import StateDirectoryInUse
from .records import HistoryError, KnownRun, RunLookup, RunRecord
from .retention import SystemClock
from .writer import HistoryWriter, select_records, unusable_sentence

CHECKPOINT_EVERY: Final = 1000
"""Changes after which the write-ahead log, up to 20 MiB by then, is worth moving into the database."""

FEW_RUNS: Final = 500
"""Runs that are read and sorted at once to answer a request for those with a prefix: about 2 ms."""


class History:
    """One service's history. Changes are visible to reads at once, and durable after `flush`."""

    def __init__(self, writer: HistoryWriter, lock: int, lost: tuple[RunRecord, ...]) -> None:
        self.lost = lost
        """Runs of a dead service that may still have processes; see `orphans_ended`."""
        self._writer = writer
        self._lock = lock
        self._in_place = True
        self._lock_file: dict[Path, FileId] = {}
        if lock >= 0 and writer.file is not None:
            locked = os.fstat(lock)
            self._lock_file[writer.file.with_name(database.LOCK_FILE)] = (locked.st_dev, locked.st_ino)

    @classmethod
    def open(
        cls,
        state_dir: Path,
        settings: HistorySettings,
        log: Logger,
        *,
        resume: int | None = None,
        clock: SystemClock | None = None,
    ) -> Self:
        """Open the history of a state directory, and lock that directory for this process.

        Runs without an end belong to a service that died: they become lost, and `lost` lists them. With `resume`, which
        `hand_over` returned in the program that this one has replaced, they continue. A damaged database is moved aside
        and a new one is started. Raises `StateDirectoryInUse` if another service uses the directory, and `HistoryError`
        if the history cannot be used; without `history.required`, it is instead kept in memory, and a warning is
        logged.
        """
        clock = clock or SystemClock()
        file = state_dir / database.DATABASE_FILE
        lock = -1
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = database.acquire_lock(state_dir) if resume is None else database.adopt_lock(state_dir, resume)
            return cls(*_open(file, lock, settings, log, clock, resumed=resume is not None))
        except StateDirectoryInUse:
            raise
        except (HistoryError, OSError, sqlite3.Error) as error:
            if settings.required:
                if lock >= 0:
                    os.close(lock)
                raise HistoryError(unusable_sentence(file, error)) from None
            log.warning("history is kept only in memory until the service ends", reason=str(error))
            return cls(HistoryWriter(database.connect(None), None, settings, log, clock), lock, ())

    def configure(self, settings: HistorySettings) -> None:
        """Apply a new retention from now on, after a reload of the configuration."""
        self._writer.settings = settings

    def starting(self, record: RunRecord) -> None:
        """Record a run that is about to be started. Its id must be one for which `look_up` has returned `UnknownRun`.

        Start its program only after `flush` has returned without naming it.
        """
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
        return self._writer.dirty

    def flush(self) -> None:
        """Make all changes durable, in one transaction.

        On failure, all changes except starts remain pending for the next call, and the reason is logged once. If starts
        could not be written, this raises `HistoryError` with their ids in `ids`: those runs must not be started.
        Without `history.required`, starts remain pending, too, and nothing is raised.
        """
        self._writer.flush()

    def close(self) -> None:
        """Write pending changes, mark the history as closed in order, and release the state directory.

        If files were removed, leave word for the next service, which would find a directory without them, or none.
        """
        if not self._in_place and self._writer.file is not None:
            with contextlib.suppress(OSError):
                self._writer.file.parent.mkdir(0o700, parents=True, exist_ok=True)
                self._writer.file.with_name(database.REPLACED_FILE).touch(0o600)
        self._writer.close(final=True)
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
        if (record := self.find(id)) is not None:
            return KnownRun(record)
        try:
            return retention.look_up_deleted(self._writer.db, id, owner)
        except sqlite3.Error as error:
            self._writer.failed(error)
            raise HistoryError(self._writer.sentence(error)) from None

    def recent(
        self, owner: str | None = None, *, limit: int = 100, before: str | None = None, prefix: str = ""
    ) -> list[RunRecord]:
        """Return the last runs whose id begins with `prefix`, newest first, of one owner or of all.

        To get the next page, pass the id of the previous page's last run as `before`.
        """
        # A plus sign keeps SQLite from using an index for a condition (sqlite.org/optoverview.html).
        other = "+" if prefix and self._few(prefix) else ""
        conditions, values = [f"{other}n > 0"], list[object]()
        if owner is not None:
            conditions.append(f"{other}owner = ?")
            values.append(owner)
        if before is not None:
            conditions.append(f"{other}n < (SELECT n FROM record WHERE id = ?)")
            values.append(before)
        if prefix:
            conditions.append("id >= ? AND id < ?")
            values += [prefix, prefix + "g"]  # g sorts after all characters of an id
        found = self._records(f"WHERE {' AND '.join(conditions)} ORDER BY {other}n DESC LIMIT ?", (*values, limit))
        wanted = (r for r in found.values() if owner in (None, r.owner) and r.id.startswith(prefix))
        return list(wanted)[:limit]

    def _few(self, prefix: str) -> bool:
        """Return whether so few ids begin with `prefix` that it is cheaper to read all of those runs than to search
        among all runs of an owner."""
        self._writer.apply()
        counted = "SELECT count(*) FROM (SELECT 1 FROM record WHERE id >= ? AND id < ? LIMIT ?)"
        try:
            (count,) = self._writer.db.execute(counted, (prefix, prefix + "g", FEW_RUNS + 1)).fetchone()
        except sqlite3.Error:
            return False  # the same error will be handled where the runs are read
        return bool(count <= FEW_RUNS)

    def _records(self, where: str, values: tuple[object, ...], *, only: str | None = None) -> dict[str, RunRecord]:
        writer = self._writer
        writer.apply()
        try:
            rows = select_records(writer.db, where, values)
        except sqlite3.Error as error:
            writer.failed(error)
            raise HistoryError(writer.sentence(error)) from None
        return records.overlay(rows, (change for change in writer.pending if only in (None, change.id)))


def _open(
    file: Path, lock: int, settings: HistorySettings, log: Logger, clock: SystemClock, *, resumed: bool
) -> tuple[HistoryWriter, int, tuple[RunRecord, ...]]:
    """Return the arguments for `History`. Raises sqlite3.Error, OSError or `HistoryError`."""
    writer: HistoryWriter | None = None
    try:
        writer = HistoryWriter(database.connect(file), file, settings, log, clock)
        marker = file.with_name(database.REPLACED_FILE)
        replaced = marker.exists()
        lost = writer.begin(resumed=resumed, damaged=replaced)
        if replaced:
            log.warning("history was replaced while it was in use; ids created before now count as expired")
            marker.unlink(missing_ok=True)
        return writer, lock, lost
    except sqlite3.Error as error:
        if writer is not None:
            writer.db.close()
        if not database.is_damage(error):
            raise
        writer = HistoryWriter(database.replace_damaged(file, error, log), file, settings, log, clock)
        return writer, lock, writer.begin(resumed=resumed, damaged=True)
