"""The audit log: who did what, from where, one line per event, chained by hashes so that changes can be detected.

`AuditLog` writes it, one per state directory. The service calls `record` for each event (`record_start` before a run
starts) and `flush` at the end of a turn of the event loop; entries that cannot be written stay pending. `verify_state`
and `verify_files` check what was written, without a running service. The parts:

- `entry`: what an event tells, and which of it is shown (environment values, input and output never are).
- `chain`: how a line is written and checked, and the files that hold the lines.
- `log`: pending entries, rotation, and recovery after a crash. Nothing is read back except the last line.
- `verify`: every line against its hash and against the line before, both ends against `audit.head`.
"""

from .entry import AuditEntry, AuditEvent, Recorded
from .log import AuditError, AuditLog
from .verify import BrokenChain, VerifiedChain, verify_files, verify_state

__all__ = [
    "AuditEntry",
    "AuditError",
    "AuditEvent",
    "AuditLog",
    "BrokenChain",
    "Recorded",
    "VerifiedChain",
    "verify_files",
    "verify_state",
]
