"""What the history records about a run, what it knows about an id, and changes that are not in the database yet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Final

_UUID_VERSION_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

RECORD_BASE_SIZE: Final = 400
"""Size of a record in bytes, apart from its request, outcome and usage."""


class HistoryError(Exception):
    """The history cannot be read or written. The text says where, why, and what to do.

    `ids` are the runs that must not be started because their start is not recorded.
    """

    def __init__(self, sentence: str, ids: frozenset[str] = frozenset()) -> None:
        super().__init__(sentence)
        self.ids = ids


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of one run. Values that are not (yet) known are None. A run without an outcome has not ended.

    Times are seconds since 1970 by the wall clock, for people; `duration` is in seconds by a monotonic clock.
    """

    id: str
    owner: str
    uid: int
    how: str
    """How the owner logged in: `key` or `peer`."""
    fingerprint: str | None
    """The key's fingerprint, as `SHA256:…`."""
    peer: str | None
    """The client's address, as it appears in the log."""
    request: bytes
    """The request as JSON, reduced to what the policy allows to be kept."""
    request_sha256: bytes
    """The hash of the whole request, 32 bytes. Two starts with the same id are the same run if their hashes are
    equal."""
    requested_at: float
    pid: int | None = None
    start_ticks: int | None = None
    """The process's start time in clock ticks since boot: field 22 of /proc/PID/stat (proc_pid_stat(5))."""
    boot_id: str | None = None
    """The boot in which it was started: /proc/sys/kernel/random/boot_id (proc_sys_kernel(5))."""
    cgroup: str | None = None
    """The absolute path of the run's cgroup directory."""
    mark: int | None = None
    """What the run's processes have as their soft limit on file locks (`runs.process.subreaper`)."""
    ended_at: float | None = None
    outcome: bytes | None = None
    """An `Outcome` as JSON."""
    stdout: int | None = None
    """Bytes that the program wrote."""
    stderr: int | None = None
    duration: float | None = None
    usage: bytes | None = None
    """The resource usage as JSON."""
    lingered: bool = False
    left_processes: bytes | None = None
    """The processes that the run has left behind, as JSON."""


@dataclass(frozen=True, slots=True)
class KnownRun:
    """The history has a record of the run."""

    record: RunRecord


@dataclass(frozen=True, slots=True)
class ForgottenRun:
    """A run with this id may have been started and its record deleted, so the id must not be used. `reason` is a
    sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnknownRun:
    """No run with this id was ever started."""


RunLookup = KnownRun | ForgottenRun | UnknownRun

COLUMNS: Final = tuple(column.name for column in fields(RunRecord))

_START_COLUMNS: Final = COLUMNS[: COLUMNS.index("requested_at") + 1]
_start_values: Final = attrgetter(*_START_COLUMNS)

_START: Final = (
    f"INSERT OR IGNORE INTO record (clock, size, {', '.join(_START_COLUMNS)}) "
    f"VALUES (?, ?, {', '.join('?' for _ in _START_COLUMNS)})"
)
_STARTED_COLUMNS: Final = "pid = ?, start_ticks = ?, boot_id = ?, cgroup = ?, mark = ?"
_ENDED_COLUMNS: Final = (
    "clock = ?, size = size + ?, ended_at = ?, outcome = ?, stdout = ?, stderr = ?, duration = ?, usage = ?, "
    "lingered = ?, left_processes = ?"
)
_STARTED: Final = f"UPDATE record SET {_STARTED_COLUMNS} WHERE id = ?"  # nosec B608  # names from this module alone
_ENDED: Final = f"UPDATE record SET {_ENDED_COLUMNS} WHERE id = ?"  # nosec B608  # names from this module alone
_BOTH_COLUMNS: Final = f"{_ENDED_COLUMNS}, {_STARTED_COLUMNS}"
_BOTH: Final = f"UPDATE record SET {_BOTH_COLUMNS} WHERE id = ?"  # nosec B608  # names from this module alone


@dataclass(frozen=True, slots=True)
class RecordChange:
    """One SQL statement. `record` is set for a start; `fields` are the columns that any other change sets."""

    id: str
    sql: str
    values: tuple[Any, ...]
    record: RunRecord | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    ends: bool = False
    """Whether this change records the end of the run."""


def start_change(record: RunRecord, clock: float) -> RecordChange:
    """Return the change for a run that is about to be started. `clock` is the time of the `RetentionClock` in
    seconds."""
    size = RECORD_BASE_SIZE + len(record.request)
    values = (clock, size, *_start_values(record))
    return RecordChange(record.id, _START, values, record)


def started_change(id: str, columns: dict[str, Any]) -> RecordChange:
    """Return the change for a program that was started. `columns` are pid, start_ticks, boot_id, cgroup and mark,
    in this order."""
    return RecordChange(id, _STARTED, (*columns.values(), id), fields=columns)


def end_change(id: str, clock: float, size: int, columns: dict[str, Any]) -> RecordChange:
    """Return the change for a run that has ended.

    `columns` are ended_at, outcome, stdout, stderr, duration, usage, lingered and left_processes, in this order.
    `clock` is the time of the `RetentionClock` in seconds. `size` is the size of the JSON columns in bytes.
    """
    return RecordChange(id, _ENDED, (clock, size, *columns.values(), id), fields=columns, ends=True)


def merged(changes: Iterable[RecordChange]) -> Iterator[RecordChange]:
    """Yield these changes in order, but if both the start of a program and the end of its run are among them, only one
    for both: most programs end before their process is on record, and each statement takes some ten microseconds."""
    changes = tuple(changes)
    ended = {change.id for change in changes if change.ends}
    started: dict[str, RecordChange] = {}
    for change in changes:
        if change.sql is _STARTED and change.id in ended:
            started[change.id] = change
        elif change.sql is _ENDED and (start := started.get(change.id)) is not None:
            values, columns = (*change.values[:-1], *start.values), start.fields | change.fields
            yield RecordChange(change.id, _BOTH, values, fields=columns, ends=True)
        else:
            yield change


def dated(change: RecordChange, clock: float) -> RecordChange:
    """Return a change that was created before the `RetentionClock` could be read, with the time of that clock."""
    return replace(change, values=(clock, *change.values[1:])) if change.ends else change


def swept_change(id: str) -> RecordChange:
    """Return the change for a lost run that has no processes left."""
    return RecordChange(id, "UPDATE record SET unswept = NULL WHERE id = ?", (id,))


def overlay(rows: Iterable[RunRecord], pending: Iterable[RecordChange]) -> dict[str, RunRecord]:
    """Return the records by id, as they will be once the pending changes are written, including new starts."""
    records = {record.id: record for record in rows}
    for change in pending:
        if change.record is not None:
            records.setdefault(change.id, change.record)
        elif change.id in records:
            records[change.id] = replace(records[change.id], **change.fields)
    return records


def created_at(id: str) -> float | None:
    """Return the creation time of a UUIDv7 (RFC 9562, section 5.7) in seconds since 1970; None for other ids."""
    return int(id[:8] + id[9:13], 16) / 1000 if _UUID_VERSION_7.fullmatch(id) else None


def id_bytes(id: str) -> bytes:
    """Return an id in the form in which forgotten ids are stored: 16 bytes."""
    return bytes.fromhex(id.replace("-", ""))


def id_text(stored: bytes) -> str:
    """Return the id that is stored in this form."""
    digits = stored.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
