"""The audit log: who did what and from where, with one line per event, chained by hashes so that changes can be
detected.

An `AuditLog` writes the log of one state directory. The service calls `record` for each event (`record_start` before a
run starts) and `flush` at the end of a turn of the event loop. Entries that cannot be written remain pending.
`verify_state` and `verify_files` check a log without a running service. The parts:

- `entry`: what is recorded about an event, and how much of it is shown (never environment values, input or output).
- `budget`: how much of the log each user may cause; the rest is counted.
- `chain`: writes and checks lines, and finds the files that hold them.
- `log`: pending entries, rotation, and recovery after a crash. Only the last line is ever read back.
- `verify`: checks every line against its hash and the previous line, and both ends against `audit.head`.
"""

from .chain import ChainAnchor
from .entry import AuditEntry, AuditEvent, Recorded
from .log import AuditError, AuditLog
from .verify import BrokenChain, VerifiedChain, verify_files, verify_state

__all__ = [
    "AuditEntry",
    "AuditError",
    "AuditEvent",
    "AuditLog",
    "BrokenChain",
    "ChainAnchor",
    "Recorded",
    "VerifiedChain",
    "verify_files",
    "verify_state",
]
