"""Changes to the history that are not in the database yet: what to write, and what they say meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from .records import Record

COLUMNS: Final = tuple(column.name for column in fields(Record))

SIZE: Final = 400
"""Bytes that a record takes beside its request, outcome and usage."""

_START: Final = (
    f"INSERT OR IGNORE INTO record (clock, size, {', '.join(COLUMNS)}) VALUES (?, ?, {', '.join('?' for _ in COLUMNS)})"
)
_STARTED: Final = "UPDATE record SET pid = ?, start_ticks = ?, boot_id = ?, cgroup = ? WHERE id = ?"
_ENDED: Final = (
    "UPDATE record SET clock = ?, size = size + ?, ended_at = ?, outcome = ?, stdout = ?, stderr = ?, duration = ?, "
    "usage = ?, lingered = ? WHERE id = ?"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One statement. `record` is that of a start, `fields` what another change sets."""

    id: str
    sql: str
    values: tuple[Any, ...]
    size: int = 0
    """Bytes by which the records grow."""
    record: Record | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    ends: bool = False


def of_start(record: Record, clock: float) -> Change:
    """A run is about to be started."""
    size = SIZE + len(record.request)
    values = (clock, size, *(getattr(record, name) for name in COLUMNS))
    return Change(record.id, _START, values, size, record)


def of_started(id: str, told: dict[str, Any]) -> Change:
    """A program runs: its pid, start_ticks, boot_id and cgroup."""
    return Change(id, _STARTED, (*told.values(), id), fields=told)


def of_end(id: str, clock: float, size: int, told: dict[str, Any]) -> Change:
    """A run is over: its ended_at, outcome, stdout, stderr, duration, usage and lingered."""
    return Change(id, _ENDED, (clock, size, *told.values(), id), size=size, fields=told, ends=True)


def overlay(rows: Iterable[Record], waiting: Iterable[Change]) -> dict[str, Record]:
    """Return the records by id, as they will be once the waiting changes are written; starts among them are added."""
    records = {record.id: record for record in rows}
    for change in waiting:
        if change.record is not None:
            records.setdefault(change.id, change.record)
        elif change.id in records:
            records[change.id] = replace(records[change.id], **change.fields)
    return records
