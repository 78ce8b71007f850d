"""The content of an audit log entry. It never includes environment values, input or output."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from farhand_protocol.model import bytes_to_json

AuditEvent = Literal[
    "login",
    "login_refused",
    "start",
    "end",
    "denial",
    "attach",
    "signal",
    "counted",
    "repaired",
    "missing",
    "dropped",
    "rotated",
]
"""The events that an entry can report. The last five concern the log itself: entries that were only counted, a crash, a
loss, a full disk, and old entries that were deleted."""

Recorded = Literal["output", "stdin"]

MAX_ARGV: Final = 32 << 10
"""Maximum bytes of arguments that are shown. Of longer arguments, only the hash is shown. A screenful is 4 KiB."""

MAX_AUDIT_TEXT: Final = 1000
"""Maximum characters of any other value: names and addresses are far shorter, and a refusal's detail is one
sentence."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One event. `time` is in seconds since 1970. Fields that do not apply are None."""

    event: AuditEvent
    time: float
    user: str | None = None
    how: str | None = None
    """How the user logged in: `key` or `peer`."""
    key: str | None = None
    """The key's fingerprint, as `SHA256:…`."""
    peer: str | None = None
    """The client's address."""
    run: str | None = None
    argv: tuple[bytes, ...] | None = None
    """The command that was executed, or would have been."""
    commands: Literal["argv", "hash"] = "argv"
    """Whether the policy allows `argv` to be shown; the log's own settings can only be stricter."""
    argv0: bytes | None = None
    """The name given to the program if it differs from `argv[0]`, as for a login shell."""
    terminal: str | None = None
    """The name of the run's terminal type."""
    recorded: tuple[Recorded, ...] = ()
    """What is recorded of the run: output, because the policy requires it, or stdin, because the user requested it."""
    outcome: str | None = None
    """An outcome's status, or a decision."""
    detail: str | None = None
    """A sentence, or a signal's name."""

    count: int | None = None
    """Of `counted`: how many entries."""
    since: float | None = None
    """Of `counted`: the time of the first one."""

    def members(self, commands: Literal["argv", "hash"]) -> dict[str, object]:
        """Return the members of the line, in order. `commands` is the log's own setting."""
        members: dict[str, object] = {"time": timestamp(self.time), "event": self.event}
        for name in ("user", "how", "key", "peer", "run"):
            if (value := getattr(self, name)) is not None:
                members[name] = value[:MAX_AUDIT_TEXT]
        if self.argv is not None:
            if commands == self.commands == "argv" and argv_size(self.argv) <= MAX_ARGV:
                members["argv"] = [bytes_to_json(argument) for argument in self.argv]
            else:
                members["argv_sha256"] = argv_sha256(self.argv)
        if self.argv0 is not None:
            members["argv0"] = bytes_to_json(self.argv0)
        if self.terminal is not None:
            members["terminal"] = self.terminal
        if self.recorded:
            members["recorded"] = list(self.recorded)
        if self.count is not None:
            members["count"] = self.count
        if self.since is not None:
            members["since"] = timestamp(self.since)
        for name in ("outcome", "detail"):
            if (value := getattr(self, name)) is not None:
                members[name] = value[:MAX_AUDIT_TEXT]
        return members


def timestamp(time: float) -> str:
    """Return a time in RFC 3339 format, in UTC, with milliseconds."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def argv_size(argv: Sequence[bytes]) -> int:
    """Return the bytes of the arguments, each followed by a NUL byte: 200,000 empty ones must not be shown, either."""
    return sum(map(len, argv)) + len(argv)


def argv_sha256(argv: tuple[bytes, ...]) -> str:
    """Return the SHA-256 in hexadecimal of the arguments, each followed by a NUL byte as in /proc/PID/cmdline."""
    return hashlib.sha256(b"\0".join((*argv, b""))).hexdigest()
