"""Finds the transfers that did not end by themselves, and so may have left temporary files beside their destinations.

A transfer that has worked or failed has removed them. One that was killed or lost has not, and neither does the service
know what it left: only where it wrote.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final, NamedTuple

from farhand_protocol.values import BadValue, arguments_from_json

from .store import History

_ENDED_OTHERWISE: Final = frozenset({"killed", "lost", "signaled", "timed_out"})

_QUERY: Final = """
    SELECT owner, uid, how, fingerprint, clock, request, outcome FROM record
    WHERE outcome IS NOT NULL AND instr(request, CAST('"transfer"' AS BLOB))
    AND (instr(request, CAST('"sweep"' AS BLOB)) OR (requested_at < ? AND NOT instr(outcome, CAST('"exited"' AS BLOB))))
    ORDER BY n DESC
"""
"""A transfer that a crash of the service has ended has no time of its end, but a `clock`: when it was found lost."""


class UnfinishedTransfer(NamedTuple):
    """A transfer to `path` that did not end by itself. The other fields are those of `RunRecord`."""

    owner: str
    uid: int
    how: str
    fingerprint: str | None
    path: bytes


def unfinished_transfers(history: History, *, before: float, age: float, limit: int) -> list[UnfinishedTransfer]:
    """Return up to `limit` transfers to different destinations that were requested before the time `before` and did not
    end by themselves, the last ones first, but none whose destination was swept `age` seconds after its end.

    Reads the whole database, so call it in a thread. A history in memory has none. Raises sqlite3.Error, OSError.
    """
    if not history.on_disk:
        return []
    file = history.files[0]
    swept: dict[UnfinishedTransfer, float] = {}
    found: dict[UnfinishedTransfer, None] = {}
    # Neither does the service's own connection wait for this one (sqlite.org/wal.html), nor is a file made if somebody
    # has removed it.
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as db:
        for owner, uid, how, fingerprint, clock, request, outcome in db.execute(_QUERY, (before,)):
            status = _object(outcome).get("status")
            for access, path in _paths(request):
                each = UnfinishedTransfer(owner, uid, how, fingerprint, path)
                if access == "sweep" and status == "exited":
                    swept.setdefault(each, clock)
                elif access == "write" and status in _ENDED_OTHERWISE and swept.get(each, clock) < clock + age:
                    found[each] = None
            if len(found) >= limit:
                break
    return [*found]


def _paths(request: bytes) -> Iterator[tuple[object, bytes]]:
    """Yield what a transfer has done to which paths; nothing for what was written by somebody else."""
    transfer = _object(request).get("transfer")
    if isinstance(transfer, dict):
        try:
            paths = arguments_from_json(transfer["paths"])
        except (BadValue, KeyError, TypeError, ValueError):
            return
        for path in paths:
            yield transfer.get("access"), path


def _object(text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
