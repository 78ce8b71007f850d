"""Writes the audit log. Entries wait until the end of a turn of the event loop, or longer if the disk cannot be
written."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections import deque
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from farhand_server.config import AuditSettings
from farhand_server.filewatch import file_id
from farhand_server.logs import Logger
from farhand_server.sharing import Tally

from . import chain
from .budget import LONG_ARGV, AuditBudget
from .chain import (
    CHAIN_START,
    CURRENT_FILE,
    HEAD_FILE,
    MAX_AUDIT_LINE,
    BrokenLine,
    ChainAnchor,
    ChainedLine,
    ChainHead,
    parse_line,
)
from .entry import MAX_ARGV, AuditEntry, AuditEvent, timestamp

MAX_PENDING_BYTES: Final = 8 << 20
"""Maximum bytes of entries kept while they cannot be written: about 16,000 of the usual size. Each user may use as much
as is still free. Further entries are only counted."""

ENTRY_BASE_SIZE: Final = 400
"""Bytes assumed for an entry besides its arguments."""


class AuditError(Exception):
    """The audit log cannot be written. The text says which file, why, and what follows from that."""


class _Pending(NamedTuple):
    """A line that is not written yet, about how long it will be, and the entry that caused it, if it is a user's."""

    members: str
    size: int
    entry: AuditEntry | None


class AuditLog:
    """The audit log of one state directory. Only the last line is read back, when the log is opened."""

    def __init__(self, state_dir: Path, settings: AuditSettings, log: Logger) -> None:
        """Prepare a log whose files are opened by `open` or by the first `flush`."""
        self._state_dir = state_dir
        self._settings = settings
        self._log = log
        self._file = -1
        self._head = -1
        self._size = 0
        self._first = self._first_here = 1
        self._last = CHAIN_START
        self._anchor: ChainAnchor | None = None
        self._budget = AuditBudget(_capacity(settings), settings.keep_for)
        self._pending: deque[_Pending] = deque()
        self._pending_bytes: Tally[str | None] = Tally()
        self._dropped = 0
        self._fault: str | None = None
        self._written: ChainHead | None = None
        """What was written before a file was removed or replaced; `audit.head` may be lost as well."""

    @classmethod
    def open(cls, state_dir: Path, settings: AuditSettings, log: Logger) -> Self:
        """Continue the log where the last service left it. If something is missing or damaged, record that in the log.

        If it cannot be written now, each flush tries again to open it. Raises `AuditError` if another process is
        writing it.
        """
        audit = cls(state_dir, settings, log)
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            audit._open()
        except OSError as error:
            audit._failed(error)
        return audit

    def configure(self, settings: AuditSettings) -> None:
        """Apply new settings from now on, after a reload of the configuration."""
        self._settings = settings
        self._budget.capacity, self._budget.keep_for = _capacity(settings), settings.keep_for

    def record(self, entry: AuditEntry) -> None:
        """Add an event; the next `flush` writes it. If its user has caused too many of them, it is only counted; see
        `AuditBudget`."""
        self._record(entry)

    def record_start(self, entry: AuditEntry) -> None:
        """Add the start of a run. With `audit.required`, write it at once, together with all pending entries.

        Raises `AuditError` if it must be written but cannot be. The entry is then withdrawn, and the caller must not
        start the run.
        """
        added = self._record(entry, counts=not self._settings.required)
        if not self._settings.required:
            return
        if added is None:
            raise AuditError(
                f"{entry.user} has caused so many entries of the audit log that this run would not be in it, and then "
                "it is not started (audit.required); try again later"
            )
        self.flush()
        if self._fault is not None:
            if added and self._pending:
                self._taken(self._pending.pop())
            elif not added:
                self._dropped -= 1
            raise AuditError(self._sentence())

    @property
    def count_due(self) -> float | None:
        """When `flush` has to be called to write what was counted, on the monotonic clock; None if nothing was."""
        return self._budget.due

    @property
    def fault(self) -> str | None:
        """Why the log could not be written at the last attempt; None if it could."""
        return self._fault

    @property
    def complete(self) -> bool:
        """Whether everything recorded has been written."""
        return not self._pending

    def flush(self) -> None:
        """Write all pending entries. Never raises: on failure the entries remain pending, and the failure is logged
        once."""
        if self._budget.due is not None:
            self._write_counts(time.monotonic())
        if not self._pending:
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
                self._log.info("audit log can be written again")

    @property
    def files(self) -> tuple[Path, Path]:
        """The paths of the files that are written."""
        return (self._state_dir / CURRENT_FILE, self._state_dir / HEAD_FILE)

    def check(self) -> None:
        """If a file was removed or replaced, continue the chain in a new one, and record there what is missing.

        Never raises: what cannot be opened now, the next flushes try again.
        """
        lost = [file for file, fd in zip(self.files, (self._file, self._head), strict=True) if not _is_open(file, fd)]
        if self._file < 0 or not lost:
            return
        self._written = ChainHead(self._first, self._last, self._anchor)
        self._close()
        try:
            self._open()
        except (OSError, AuditError) as error:
            self._failed(error)
        else:
            self._log.error("audit log was removed or replaced; it continues in a new file", file=lost[0])

    def close(self) -> None:
        """Write the pending entries and what was counted, and close the files."""
        self._write_counts(math.inf)
        self.flush()
        if self._pending:
            self._log.error("audit log is incomplete", count=len(self._pending) + self._dropped)
        self._close()

    def _record(self, entry: AuditEntry, *, counts: bool = True) -> bool | None:
        """Add an entry. Return whether there was space for it, or None if its user may not cause any more entries; it
        is then counted, if it `counts`."""
        now = time.monotonic()
        shown = self._budget.admit(entry, now)
        if shown is None:
            if counts:
                self._budget.count(entry, now)
            return None
        argv = entry.argv or ()
        length = sum(map(len, argv)) if len(argv) <= MAX_ARGV else 0  # of more, only a hash is written
        hidden = shown == "short" and length > LONG_ARGV
        return self._append(entry, "hash" if hidden else self._settings.commands, 0 if hidden else length)

    def _append(self, entry: AuditEntry, commands: Literal["argv", "hash"], length: int) -> bool:
        size, kept = ENTRY_BASE_SIZE + length, self._pending_bytes
        if kept.of(entry.user) + size > MAX_PENDING_BYTES - kept.total:
            self._dropped += 1
            return False
        self._pending.append(_Pending(entry.encode(commands), size, entry))
        kept.add(entry.user, size)
        self._budget.charge(entry, size, time.monotonic())
        return True

    def _taken(self, pending: _Pending) -> None:
        if pending.entry is not None:
            self._pending_bytes.remove(pending.entry.user, pending.size)

    def _write_counts(self, now: float) -> None:
        for entry in self._budget.counted(now, time.time()):
            self._append(entry, "hash", 0)

    def _write(self) -> None:
        lines, last = self._encode()
        if self._size and self._size + sum(map(len, lines)) > self._settings.max_size:
            self._rotate()
            lines, last = self._encode()
        data, written = memoryview(b"".join(lines)), 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            # An incomplete line would break the chain for all lines after it.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self._last = last
        for pending, raw in zip(self._pending, lines, strict=True):
            # A control character in an argument takes six bytes.
            if pending.entry is not None and len(raw) > pending.size + ENTRY_BASE_SIZE:
                self._budget.charge(pending.entry, len(raw) - pending.size, time.monotonic())
        self._pending.clear()
        self._pending_bytes.clear()
        self._save_head()

    def _encode(self) -> tuple[list[bytes], ChainedLine]:
        lines, last = [], self._last
        for pending in self._pending:
            raw, last = chain.encode_line(last, pending.members)
            lines.append(raw)
        return lines, last

    def _save_head(self) -> None:
        os.pwrite(self._head, ChainHead(self._first, self._last, self._anchor).encode(), 0)

    def _rotate(self) -> None:
        current = self._state_dir / CURRENT_FILE
        current.rename(self._state_dir / chain.older_file_name(self._first_here))
        os.close(self._file)
        self._file = -1
        self._file = chain.open_private(current, os.O_RDWR | os.O_APPEND)
        self._size, self._first_here = 0, self._last.seq + 1
        older = chain.older_files(self._state_dir)
        excess = max(0, len(older) - (self._settings.keep - 1))
        self._first = self._first_here
        for file in reversed(older[excess:]):
            self._first = chain.first_entry(file) or self._first
        if excess:
            self._drop_anchor(older[excess - 1])
        # Save the head first: a file that it no longer covers may be left over, but a file that it covers must not be
        # missing.
        self._save_head()
        for file in older[:excess]:
            file.unlink()
        self._log.info("audit log continues in a new file", entry=self._last.seq, hash=self._last.hash)

    def _drop_anchor(self, file: Path) -> None:
        """Note the last entry of the newest file that is about to be deleted."""
        found, now = chain.last_line(file), time.time()
        if found is None or found[0].seq != self._first - 1:
            if self._anchor is not None and self._anchor.place.seq != self._first - 1:
                self._anchor = None
            return
        place, written = found
        self._anchor = anchor = ChainAnchor(place, now if written is None else written, now)
        said = f"entries up to {place.seq} were deleted; the last one is of {timestamp(anchor.time)}, hash {place.hash}"
        self._note("rotated", said)
        if anchor.time > now - self._settings.keep_for:
            self._log.error(
                "audit log has deleted entries that audit.keep_for promises; raise audit.keep or audit.max_size",
                entry=place.seq,
                hash=place.hash,
                written=timestamp(anchor.time),
                keep_for=self._settings.keep_for,
            )
        else:
            self._log.info("audit log has deleted old entries", entry=place.seq, hash=place.hash)

    def _open(self) -> None:
        self._head = chain.open_private(self._state_dir / HEAD_FILE, os.O_RDWR)
        try:
            if not chain.try_lock(self._head):
                raise AuditError(f"another process is writing the audit log in {self._state_dir}; stop it")
            self._file = chain.open_private(self._state_dir / CURRENT_FILE, os.O_RDWR | os.O_APPEND)
            self._resume(self._written or ChainHead.decode(os.pread(self._head, MAX_AUDIT_LINE, 0)))
            self._save_head()
            self._written = None
        except BaseException:
            self._close()
            raise

    def _resume(self, head: ChainHead | None) -> None:
        """Find the end of the chain, and record in the log itself any difference from how it was left."""
        self._size = os.fstat(self._file).st_size
        older = chain.older_files(self._state_dir)
        last = self._cut_incomplete_line()
        if last is None and older and self._size == 0:
            last = found[0] if (found := chain.last_line(older[-1])) is not None else None
        noted = head.last if head is not None else CHAIN_START
        if last is None or noted.seq > last.seq:
            if last is None and self._size:
                self._report_missing("the file did not end with a line of this log when it was opened", noted)
            elif noted.seq:
                end = last.seq if last is not None else 0
                self._report_missing(f"entries {end + 1} to {noted.seq} were missing when the file was opened", noted)
            last = noted
        if head is None and last.seq:
            self._report_missing("audit.head was missing or damaged when the file was opened", last)
        self._last = last
        self._first_here = self._first_line() or last.seq + 1
        oldest = chain.first_entry(older[0]) if older else None
        self._first = (head.first if head is not None else oldest) or self._first_here
        self._anchor = None if head is None else head.anchor

    def _report_missing(self, what: str, last: ChainedLine) -> None:
        self._log.error("audit log has changed since it was closed", reason=what, last=last.seq)
        self._note("missing", what)

    def _cut_incomplete_line(self) -> ChainedLine | None:
        """Cut off an incomplete line that a crash has left at the end. Return the place of the last complete line."""
        tail = os.pread(self._file, 2 * MAX_AUDIT_LINE, max(0, self._size - 2 * MAX_AUDIT_LINE))
        whole, newline, rest = tail.rpartition(b"\n")
        if rest:
            os.ftruncate(self._file, self._size - len(rest))
            self._size -= len(rest)
            digest = hashlib.sha256(rest).hexdigest()
            self._note("repaired", f"{len(rest)} bytes of an incomplete line were cut off; their SHA-256 is {digest}")
            self._log.warning("audit log was repaired: an incomplete last line was cut off", bytes=len(rest))
        with contextlib.suppress(BrokenLine):
            return parse_line(whole[whole.rfind(b"\n") + 1 :] + newline)[0]
        return None

    def _first_line(self) -> int | None:
        raw = os.pread(self._file, MAX_AUDIT_LINE, 0)
        with contextlib.suppress(BrokenLine):
            return parse_line(raw[: raw.find(b"\n") + 1])[0].seq
        return None

    def _note(self, event: AuditEvent, detail: str) -> None:
        # Put this before all pending entries, regardless of the bound on them.
        members = AuditEntry(event, time.time(), detail=detail).encode("hash")
        self._pending.appendleft(_Pending(members, ENTRY_BASE_SIZE, None))

    def _failed(self, error: OSError | AuditError) -> None:
        reason = str(error) if isinstance(error, AuditError) else str(error.strerror)
        if self._fault is None:
            self._log.error("audit log cannot be written; entries are kept in memory", reason=reason)
        self._fault = reason

    def _sentence(self) -> str:
        file = self._state_dir / CURRENT_FILE
        return f"the audit log {file} cannot be written: {self._fault}; without it no run is started (audit.required)"

    def _close(self) -> None:
        for descriptor in (self._file, self._head):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._head = -1


def _is_open(file: Path, descriptor: int) -> bool:
    if descriptor < 0:
        return False
    opened = os.fstat(descriptor)
    return file_id(file) == (opened.st_dev, opened.st_ino)


def _capacity(settings: AuditSettings) -> int:
    """Return how many bytes rotation keeps at least: all files but the current one, which may just have begun."""
    return max(1, settings.keep - 1) * settings.max_size
