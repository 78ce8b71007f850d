"""The history: every run, from before its start to after its end, in SQLite in the state directory.

A run's start is recorded before its program is started, so that after any crash the service still knows which ids were
used; an id is never started twice. A change goes: `History` appends a `RecordChange` → `HistoryWriter` holds it as
pending → `GroupCommit` calls `flush` once per turn of the event loop → one transaction for all changes of that turn.
Reads see pending changes at once. What cannot be written stays pending and is tried again. The parts:

- `records`: what is recorded of a run, what can be said of an id, and changes that are not written yet.
- `database`: the lock on the state directory, opening the file, its tables, replacing a damaged file.
- `retention`: which records are deleted when, and how deleted ids are told from unused ones, whatever the clock does.
- `writer`: pending changes on their way into the database.
- `store`: `History`, what the rest of the service uses.
- `group_commit`: `GroupCommit`, when to flush.
"""

from .database import StateDirectoryInUse
from .group_commit import GroupCommit
from .records import ForgottenRun, HistoryError, KnownRun, RunLookup, RunRecord, UnknownRun
from .store import History

__all__ = [
    "ForgottenRun",
    "GroupCommit",
    "History",
    "HistoryError",
    "KnownRun",
    "RunLookup",
    "RunRecord",
    "StateDirectoryInUse",
    "UnknownRun",
]
