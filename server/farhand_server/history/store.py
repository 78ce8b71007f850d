"""The history itself: written ahead of each start, read by id, by prefix and by owner."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from farhand_server.config import HistorySettings
from farhand_server.logs import Logger

from . import changes, lock, opening, retention
from .changes import Change
from .clock import Clock
from .records import HistoryError, Known, Record, State
from .writer import Writer, select, sentence

CHECKPOINT_EVERY: Final = 1000
"""Changes after which the write-ahead log is worth moving: up to 20 MiB of it."""


class History:
    """One service's history. Changes are seen by reads at once, and are durable after `flush`."""

    def __init__(self, writer: Writer, lock: int, lost: tuple[Record, ...]) -> None:
        self.lost = lost
        """Runs of a service that died, of which processes may be left; see `orphans_ended`."""
        self._writer = writer
        self._lock = lock

    @classmethod
    def open(
        cls,
        state_dir: Path,
        settings: HistorySettings,
        log: Logger,
        *,
        resume: int | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Open the history of a state directory, and have that directory to ourselves.

        Runs without an end belong to a service that is dead: they become lost, and `lost` names them. With `resume`,
        what `hand_over` returned in the program that this one has replaced, they go on. A damaged database is put
        aside and a new one begun. Raises `InUse` where another service has the directory, and `HistoryError` where the
        history cannot be used; without `history.required` it is kept in memory then, and a warning logged.
        """
        clock = clock or Clock()
        file = state_dir / opening.NAME
        descriptor = -1
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = lock.acquire(state_dir) if resume is None else lock.adopt(state_dir, resume)
            return cls(*_open(file, descriptor, settings, log, clock, resumed=resume is not None))
        except lock.InUse:
            raise
        except (HistoryError, OSError, sqlite3.Error) as error:
            if settings.required:
                if descriptor >= 0:
                    os.close(descriptor)
                raise HistoryError(sentence(file, error)) from None
            log.warning("history is kept in memory alone, until the service ends", reason=str(error))
            return cls(Writer(opening.connect(None), None, settings, log, clock), descriptor, ())

    def configure(self, settings: HistorySettings) -> None:
        """Take another retention, at a reload of the configuration."""
        self._writer.settings = settings

    def starting(self, record: Record) -> None:
        """Write down a run that is about to be started; `state_of` its id has been `Unknown`.

        Start it only once `flush` has returned without naming it.
        """
        self._writer.waiting.append(changes.of_start(record, self._writer.age.now()))

    def started(self, id: str, pid: int, start_ticks: int | None, boot_id: str | None, cgroup: str | None) -> None:
        """Write down the process of a run, by which a later service can find it; see `Record` for the units."""
        told = {"pid": pid, "start_ticks": start_ticks, "boot_id": boot_id, "cgroup": cgroup}
        self._writer.waiting.append(changes.of_started(id, told))

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
    ) -> None:
        """Write down a run's end: `outcome` and `usage` are JSON, `stdout` and `stderr` bytes, `duration` seconds."""
        told = {
            "ended_at": self._writer.clock.wall(),
            "outcome": outcome,
            "stdout": stdout,
            "stderr": stderr,
            "duration": duration,
            "usage": usage,
            "lingered": lingered,
        }
        size = len(outcome) + len(usage or b"")
        self._writer.waiting.append(changes.of_end(id, self._writer.age.now(), size, told))

    def orphans_ended(self, ids: Iterable[str]) -> None:
        """Nothing is left of these lost runs; until this is said, every open names them again."""
        for id in ids:
            self._writer.waiting.append(Change(id, "UPDATE record SET unswept = NULL WHERE id = ?", (id,)))

    @property
    def on_disk(self) -> bool:
        """Whether it outlives this program; see `open` for when it does not."""
        return self._writer.file is not None

    @property
    def dirty(self) -> bool:
        """Whether there is something for `flush` to do."""
        return self._writer.dirty

    def flush(self) -> None:
        """Make all changes durable, in one transaction.

        Where it fails, ends and the like are kept and tried again at the next call, and a sentence is logged once. A
        start that could not be written makes it raise `HistoryError`, which names it in `ids`: the run must not be
        started. Without `history.required` starts are kept like the rest, and a failure to write raises nothing.
        """
        self._writer.flush()

    def close(self) -> None:
        """Take leave: write what there is and let go of the state directory."""
        self._writer.close(for_good=True)
        if self._lock >= 0:
            os.close(self._lock)

    def hand_over(self) -> int | None:
        """Close the database and keep the lock, for the program that replaces this one by execve(2).

        Returns the number for its `resume`, a descriptor that programs now inherit; None for a history in memory.
        Where the execve fails, open the history again with that number.
        """
        self._writer.close(for_good=False)
        if self._writer.file is None:
            return None
        os.set_inheritable(self._lock, True)
        return self._lock

    @property
    def checkpoint_due(self) -> bool:
        """Whether the write-ahead log should be moved into the database."""
        return self._writer.changes >= CHECKPOINT_EVERY and self._writer.file is not None

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, which waits for the disk: call it in a thread.

        Raises sqlite3.Error.
        """
        self._writer.changes = 0
        if self._writer.file is not None:
            opening.checkpoint(self._writer.file)

    # Reading; each raises HistoryError where the database cannot be read.

    def find(self, id: str) -> Record | None:
        """Return the record of a run, or None."""
        return self._records("WHERE id = ?", (id,), of=id).get(id)

    def state_of(self, id: str) -> State:
        """Say whether a run of this id is known, was forgotten, or never was."""
        if (record := self.find(id)) is not None:
            return Known(record)
        try:
            return retention.judge(self._writer.db, self._writer.totals, id)
        except sqlite3.Error as error:
            self._writer.failed(error)
            raise HistoryError(self._writer.sentence(error)) from None

    def resolve(self, prefix: str, *, owner: str | None = None, limit: int = 8) -> list[str]:
        """Return the ids that begin with `prefix`, at most `limit`; of one owner alone where one is given.

        The prefix has hexadecimal digits, with or without the hyphens; what is no such prefix matches nothing.
        """
        digits = prefix.replace("-", "").lower()
        if not digits or len(digits) > 32 or set(digits) - set("0123456789abcdef"):
            return []
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        first = "-".join(part for part in parts if part)
        found = self._records(
            "WHERE id >= ? AND id < ? AND (? IS NULL OR owner = ?) ORDER BY id LIMIT ?",
            (first, first + "g", owner, owner, limit),  # g follows the last digit and the hyphen
        )
        return sorted(r.id for r in found.values() if r.id.startswith(first) and owner in (None, r.owner))[:limit]

    def recent(
        self, owner: str | None = None, *, limit: int = 100, before: str | None = None, prefix: str = ""
    ) -> list[Record]:
        """Return the runs started last, of one owner or of all, the newest first; `before` an id, for the next page.

        Only those whose id begins with `prefix`.
        """
        conditions, values = ["n > 0"], list[object]()
        if owner is not None:
            conditions.append("owner = ?")
            values.append(owner)
        if before is not None:
            conditions.append("n < (SELECT n FROM record WHERE id = ?)")
            values.append(before)
        if prefix:
            conditions.append("id >= ? AND id < ?")
            values += [prefix, prefix + "g"]  # the letter behind all that ids are made of
        found = self._records(f"WHERE {' AND '.join(conditions)} ORDER BY n DESC LIMIT ?", (*values, limit))
        wanted = (r for r in found.values() if owner in (None, r.owner) and r.id.startswith(prefix))
        return list(wanted)[:limit]

    def running(self) -> list[Record]:
        """Return the runs without an end, the oldest first."""
        found = self._records("WHERE outcome IS NULL ORDER BY n", ())
        return [record for record in found.values() if record.outcome is None]

    def _records(self, where: str, values: tuple[object, ...], *, of: str | None = None) -> dict[str, Record]:
        writer = self._writer
        writer.apply()
        try:
            rows = select(writer.db, where, values)
        except sqlite3.Error as error:
            writer.failed(error)
            raise HistoryError(writer.sentence(error)) from None
        return changes.overlay(rows, (change for change in writer.waiting if of in (None, change.id)))


def _open(
    file: Path, lock: int, settings: HistorySettings, log: Logger, clock: Clock, *, resumed: bool
) -> tuple[Writer, int, tuple[Record, ...]]:
    """Return what a History is made of. Raises sqlite3.Error, OSError or `HistoryError`."""
    writer: Writer | None = None
    try:
        writer = Writer(opening.connect(file), file, settings, log, clock)
        return writer, lock, writer.begin(resumed=resumed, damaged=False)
    except sqlite3.Error as error:
        if writer is not None:
            writer.db.close()
        if not opening.is_damage(error):
            raise
        writer = Writer(opening.anew(file, error, log), file, settings, log, clock)
        return writer, lock, writer.begin(resumed=resumed, damaged=True)
