"""What an entry of the audit log tells. Environment values, input and output have no place in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from farhand_protocol.model import bytes_to_json

Event = Literal[
    "login", "login_refused", "start", "end", "denial", "attach", "signal", "repaired", "missing", "dropped"
]
"""What can be told. The last three are of the log itself: a crash, a loss, a disk that was full."""

Recorded = Literal["output", "stdin"]

MAX_ARGV: Final = 32 << 10
"""Bytes of arguments that are shown; of longer ones there is the hash alone. A screenful is 4 KiB."""

MAX_TEXT: Final = 1000
"""Characters of any other value: a name or an address has far fewer, and what is told of a refusal is a sentence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. `time` in seconds since 1970; what does not apply is None."""

    event: Event
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
    """What was, or would have been, executed."""
    commands: Literal["argv", "hash"] = "argv"
    """Whether the policy lets `argv` be shown; the log's own settings can only be stricter."""
    argv0: bytes | None = None
    """The name that the program was told, where that is not `argv[0]`: of a login shell."""
    terminal: str | None = None
    """The name of the terminal that it has."""
    recorded: tuple[Recorded, ...] = ()
    """What is recorded: its output, as the policy wants it, and its stdin, as its user does."""
    outcome: str | None = None
    """An outcome's status, or what was decided."""
    detail: str | None = None
    """A sentence, or a signal's name."""

    def members(self, commands: Literal["argv", "hash"]) -> dict[str, object]:
        """Return what stands in the line, in its order."""
        told: dict[str, object] = {"time": stamp(self.time), "event": self.event}
        for name in ("user", "how", "key", "peer", "run"):
            if (value := getattr(self, name)) is not None:
                told[name] = value[:MAX_TEXT]
        if self.argv is not None:
            if commands == self.commands == "argv" and sum(map(len, self.argv)) <= MAX_ARGV:
                told["argv"] = [bytes_to_json(argument) for argument in self.argv]
            else:
                told["argv_sha256"] = argv_sha256(self.argv)
        if self.argv0 is not None:
            told["argv0"] = bytes_to_json(self.argv0)
        if self.terminal is not None:
            told["terminal"] = self.terminal
        if self.recorded:
            told["recorded"] = list(self.recorded)
        for name in ("outcome", "detail"):
            if (value := getattr(self, name)) is not None:
                told[name] = value[:MAX_TEXT]
        return told


def stamp(time: float) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def argv_sha256(argv: tuple[bytes, ...]) -> str:
    """SHA-256 in hexadecimal over the arguments, each followed by a NUL byte, as in /proc/PID/cmdline (proc(5))."""
    return hashlib.sha256(b"".join(argument + b"\0" for argument in argv)).hexdigest()
