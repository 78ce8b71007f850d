"""The history: every run, from before its start to after its end, in SQLite in the state directory."""

from .group import GroupCommit
from .lock import InUse
from .records import Expired, HistoryError, Known, Record, State, Unknown
from .store import History

__all__ = ["Expired", "GroupCommit", "History", "HistoryError", "InUse", "Known", "Record", "State", "Unknown"]
