"""The audit log: who did what, from where, one line each, chained by hashes so that a change can be seen."""

from .entry import Entry, Event, Recorded
from .log import Audit, AuditError
from .verify import Broken, Whole, verify_files, verify_state

__all__ = ["Audit", "AuditError", "Broken", "Entry", "Event", "Recorded", "Whole", "verify_files", "verify_state"]
