"""The history: a record of every run, from before its start to after its end, in SQLite in the state directory.

A run's start is recorded before its program is started. So after any crash the service still knows which ids were used,
and never starts an id twice. The path of a change: `History` creates a `RecordChange` → `HistoryWriter` holds it as
pending → `GroupCommit` calls `flush` once per turn of the event loop → one transaction writes all changes of that turn.
Reads see pending changes at once. A change that cannot be written remains pending and is retried. The parts:

- `records`: what is recorded about a run, what can be known about an id, and changes that have not been written yet.
- `database`: the lock on the state directory, the tables, opening the file, and replacing a damaged file.
- `retention`: which records are deleted when, and how deleted ids are told from unused ids, whatever the clock does.
- `unfinished`: which transfers of files did not end by themselves.
- `writer`: pending changes on their way into the database.
- `store`: `History`, the interface to the rest of the service.
- `group_commit`: `GroupCommit`, which decides when to flush.
"""

from .database import SCHEMA_VERSION, StateDirectoryInUse
from .group_commit import GroupCommit
from .records import ForgottenRun, HistoryError, KnownRun, RunLookup, RunRecord, UnknownRun
from .store import History
from .unfinished import UnfinishedTransfer, unfinished_transfers
from .writer import NOT_STARTED

__all__ = [
    "NOT_STARTED",
    "SCHEMA_VERSION",
    "ForgottenRun",
    "GroupCommit",
    "History",
    "HistoryError",
    "KnownRun",
    "RunLookup",
    "RunRecord",
    "StateDirectoryInUse",
    "UnfinishedTransfer",
    "UnknownRun",
    "unfinished_transfers",
]
