"""What an entry of the audit log tells. Environment values, input and output are never part of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from farhand_protocol.model import bytes_to_json

AuditEvent = Literal[
    "login", "login_refused", "start", "end", "denial", "attach", "signal", "repaired", "missing", "dropped"
]
"""What an entry can report. The last three are about the log itself: a crash, a loss, a disk that was full."""

Recorded = Literal["output", "stdin"]

MAX_ARGV: Final = 32 << 10
"""Bytes of arguments that are shown; of longer ones only the hash is. A screenful is 4 KiB."""

MAX_AUDIT_TEXT: Final = 1000
"""Characters of any other value: names and addresses are far shorter, and a refusal's detail is one sentence."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One event. `time` is in seconds since 1970; fields that do not apply are None."""

    event: AuditEvent
    time: float
    user: str | None = None
    how: str | None = None
    """`key` or `peer`."""
    key: str | None = None
    """Fingerprint, as `SHA256:…`."""
    peer: str | None = None
    """The client's address."""
    run: str | None = None
    argv: tuple[bytes, ...] | None = None
    """What was executed, or would have been."""
    commands: Literal["argv", "hash"] = "argv"
    """Whether the policy allows `argv` to be shown; the log's own settings can only be stricter."""
    argv0: bytes | None = None
    """The program's own name for itself if it differs from `argv[0]`, as that of a login shell does."""
    terminal: str | None = None
    """The name of the run's terminal type."""
    recorded: tuple[Recorded, ...] = ()
    """What is recorded: output, because the policy wants it, and stdin, because the user does."""
    outcome: str | None = None
    """An outcome's status, or what was decided."""
    detail: str | None = None
    """A sentence, or a signal's name."""

    def members(self, commands: Literal["argv", "hash"]) -> dict[str, object]:
        """Return the members of the line, in order; `commands` is the log's own setting."""
        members: dict[str, object] = {"time": timestamp(self.time), "event": self.event}
        for name in ("user", "how", "key", "peer", "run"):
            if (value := getattr(self, name)) is not None:
                members[name] = value[:MAX_AUDIT_TEXT]
        if self.argv is not None:
            if commands == self.commands == "argv" and sum(map(len, self.argv)) <= MAX_ARGV:
                members["argv"] = [bytes_to_json(argument) for argument in self.argv]
            else:
                members["argv_sha256"] = argv_sha256(self.argv)
        if self.argv0 is not None:
            members["argv0"] = bytes_to_json(self.argv0)
        if self.terminal is not None:
            members["terminal"] = self.terminal
        if self.recorded:
            members["recorded"] = list(self.recorded)
        for name in ("outcome", "detail"):
            if (value := getattr(self, name)) is not None:
                members[name] = value[:MAX_AUDIT_TEXT]
        return members


def timestamp(time: float) -> str:
    """Return a time in RFC 3339 format, in UTC, to the millisecond."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def argv_sha256(argv: tuple[bytes, ...]) -> str:
    """Return the SHA-256 in hexadecimal of the arguments, each followed by a NUL byte as in /proc/PID/cmdline."""
    return hashlib.sha256(b"".join(argument + b"\0" for argument in argv)).hexdigest()
