"""Writing the audit log: entries wait for the end of a turn, and for better days where the disk takes none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import deque
from pathlib import Path
from typing import Final, Self

from farhand_server.config import AuditSettings
from farhand_server.logs import Logger

from . import files
from .chain import MAX_LINE, START, BrokenLine, Link, line, parse
from .entry import Entry, Event
from .files import CURRENT, HEAD, Head

MAX_WAITING: Final = 8 << 20
"""Bytes of entries kept while they cannot be written: some 16,000 of the usual size. Later ones are counted."""

BASE_SIZE: Final = 300
"""Bytes that an entry is taken to have beside its arguments."""


class AuditError(Exception):
    """The audit log cannot be written; the text says which file, why and what follows."""


class Audit:
    """The audit log of one state directory. Nothing is read back but the last line, at the opening."""

    def __init__(self, state_dir: Path, settings: AuditSettings, log: Logger) -> None:
        """See `open`."""
        self._state_dir = state_dir
        self._settings = settings
        self._log = log
        self._file = -1
        self._head = -1
        self._size = 0
        self._first = self._first_here = 1
        self._last = START
        self._waiting: deque[tuple[dict[str, object], int]] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._fault: str | None = None

    @classmethod
    def open(cls, state_dir: Path, settings: AuditSettings, log: Logger) -> Self:
        """Go on with the log where the last service left it, and say in it if that was not in order.

        Raises `AuditError` where another process writes it, or, with `audit.required`, where it cannot be written;
        else it is tried again with each flush.
        """
        audit = cls(state_dir, settings, log)
        try:
            audit._open()
        except OSError as error:
            audit._failed(error)
            if settings.required:
                raise AuditError(audit._sentence()) from None
        return audit

    def configure(self, settings: AuditSettings) -> None:
        """Take other settings, at a reload of the configuration."""
        self._settings = settings

    def record(self, entry: Entry) -> None:
        """Note an event; it is written at the next `flush`."""
        size = BASE_SIZE + sum(map(len, entry.argv or ()))
        if self._waiting_bytes + size > MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append((entry.members(self._settings.commands), size))
        self._waiting_bytes += size

    def admit(self, entry: Entry) -> None:
        """Note a start; with `audit.required` write it now, with all that waits.

        Raises `AuditError` where that has to be done and cannot: the run must not be started, and the entry is
        withdrawn.
        """
        dropped = self._dropped
        self.record(entry)
        if not self._settings.required:
            return
        self.flush()
        if self._fault is not None:
            if self._dropped > dropped:
                self._dropped -= 1
            elif self._waiting:
                self._waiting_bytes -= self._waiting.pop()[1]
            raise AuditError(self._sentence())

    @property
    def complete(self) -> bool:
        """Whether all is written that was recorded."""
        return not self._waiting

    def flush(self) -> None:
        """Write all that waits. What cannot be written goes on waiting; that is logged once, and nothing is raised."""
        if not self._waiting:
            return
        try:
            if self._file < 0:
                self._open()
            if self._dropped:
                count, self._dropped = self._dropped, 0
                self._note("dropped", f"{count} entries could not be written here")
            self._write()
        except (OSError, AuditError) as error:
            if self._file < 0:
                self._close()
            self._failed(error)
        else:
            if self._fault is not None:
                self._fault = None
                self._log.info("audit log is written again")

    def close(self) -> None:
        """Write what waits and close the files."""
        self.flush()
        if self._waiting:
            self._log.error("audit log is not complete", count=len(self._waiting) + self._dropped)
        self._close()

    def _write(self) -> None:
        pieces, link = [], self._last
        for members, _ in self._waiting:
            raw, link = line(link, members)
            pieces.append(raw)
        data = memoryview(b"".join(pieces))
        if self._size and self._size + len(data) > self._settings.max_size:
            self._rotate()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            # A part of a line would break the chain for all that follows.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self._last = link
        self._waiting.clear()
        self._waiting_bytes = 0
        self._save_head()

    def _save_head(self) -> None:
        os.pwrite(self._head, Head(self._first, self._last).encode(), 0)

    def _rotate(self) -> None:
        current = self._state_dir / CURRENT
        current.rename(self._state_dir / files.older_name(self._first_here))
        os.close(self._file)
        self._file = -1
        self._file = files.open_private(current, os.O_RDWR | os.O_APPEND)
        self._size, self._first_here = 0, self._last.seq + 1
        older = files.older(self._state_dir)
        spare = len(older) - (self._settings.keep - 1)
        self._first = self._first_here
        for file in reversed(older[max(0, spare) :]):
            self._first = files.first_of(file) or self._first
        # The note first: an older file that it does not count on may stay, one that it does must not be missing.
        self._save_head()
        for file in older[: max(0, spare)]:
            file.unlink()
        self._log.info("audit log goes on in a new file", entry=self._last.seq, hash=self._last.hash)

    def _open(self) -> None:
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._head = files.open_private(self._state_dir / HEAD, os.O_RDWR)
        try:
            if not files.lock(self._head):
                raise AuditError(f"another process writes the audit log in {self._state_dir}; stop it")
            self._file = files.open_private(self._state_dir / CURRENT, os.O_RDWR | os.O_APPEND)
            self._resume(Head.decode(os.pread(self._head, MAX_LINE, 0)))
            self._save_head()
        except BaseException:
            self._close()
            raise

    def _resume(self, head: Head | None) -> None:
        """Find the end of the chain; what is not as it was left is noted in the log itself."""
        self._size = os.fstat(self._file).st_size
        older = files.older(self._state_dir)
        last = self._mend()
        if last is None and older and self._size == 0:
            last = _last_of(older[-1])
        noted = head.last if head is not None else START
        if last is None or noted.seq > last.seq:
            if last is None and self._size:
                self._lost("the file did not end with a line of this log when it was opened", noted)
            elif noted.seq:
                end = last.seq if last is not None else 0
                self._lost(f"entries {end + 1} to {noted.seq} were not there when the file was opened", noted)
            last = noted
        if head is None and last.seq:
            self._lost("audit.head was missing or damaged when the file was opened", last)
        self._last = last
        self._first_here = self._begins_with() or last.seq + 1
        begins = files.first_of(older[0]) if older else None
        self._first = (head.first if head is not None else begins) or self._first_here

    def _lost(self, what: str, last: Link) -> None:
        self._log.error("audit log is not as it was left", reason=what, last=last.seq)
        self._note("missing", what)

    def _mend(self) -> Link | None:
        """Cut off half a line that a crash has left; return the last whole one's place."""
        tail = os.pread(self._file, 2 * MAX_LINE, max(0, self._size - 2 * MAX_LINE))
        whole, newline, half = tail.rpartition(b"\n")
        if half:
            os.ftruncate(self._file, self._size - len(half))
            self._size -= len(half)
            digest = hashlib.sha256(half).hexdigest()
            self._note("repaired", f"{len(half)} bytes of half a line were cut off; their SHA-256 is {digest}")
            self._log.warning("audit log was mended: half a line of a service that died was cut off", bytes=len(half))
        with contextlib.suppress(BrokenLine):
            return parse(whole[whole.rfind(b"\n") + 1 :] + newline)[0]
        return None

    def _begins_with(self) -> int | None:
        raw = os.pread(self._file, MAX_LINE, 0)
        with contextlib.suppress(BrokenLine):
            return parse(raw[: raw.find(b"\n") + 1])[0].seq
        return None

    def _note(self, event: Event, detail: str) -> None:
        # Ahead of all that waits, and whatever room there is.
        self._waiting.appendleft((Entry(event, time.time(), detail=detail).members("hash"), BASE_SIZE))
        self._waiting_bytes += BASE_SIZE

    def _failed(self, error: OSError | AuditError) -> None:
        reason = str(error) if isinstance(error, AuditError) else str(error.strerror)
        if self._fault is None:
            self._log.error("audit log cannot be written; entries wait", reason=reason)
        self._fault = reason

    def _sentence(self) -> str:
        return (
            f"the audit log {self._state_dir / CURRENT} cannot be written: {self._fault}; no run is started without it "
            "(audit.required)"
        )

    def _close(self) -> None:
        for descriptor in (self._file, self._head):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._head = -1


def _last_of(file: Path) -> Link | None:
    data = file.read_bytes()[-2 * MAX_LINE :].rstrip(b"\n")
    with contextlib.suppress(BrokenLine):
        return parse(data[data.rfind(b"\n") + 1 :] + b"\n")[0]
    return None
