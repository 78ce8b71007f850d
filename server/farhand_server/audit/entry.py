"""The content of an audit log entry. It never includes environment values, input or output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Final, Literal

from farhand_protocol.values import bytes_to_json

AuditEvent = Literal[
    "login",
    "login_refused",
    "start",
    "end",
    "denial",
    "attach",
    "signal",
    "flow",
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
    """How the user logged in: `key`, `passkey` or `peer`."""
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
    transfer: Mapping[str, int | str] | None = None
    """What a transfer has done, by the names of the numbers."""
    forward: Mapping[str, int | float | str] | None = None
    """What went through a tunnel; of `flow`, what became of one connection or listener. Where the log shows no
    arguments, it shows no target either, and so no `detail` of a `flow`."""

    count: int | None = None
    """Of `counted`: how many entries."""
    since: float | None = None
    """Of `counted`: the time of the first one."""

    def encode(self, commands: Literal["argv", "hash"]) -> str:
        """Return the members of the line as JSON, without the braces, in order. `commands` is the log's own setting.

        Two of these are written for each run, and `json.dumps` would take three times as long.
        """
        text = f'"time":"{timestamp(self.time)}","event":"{self.event}"'
        if self.user is not None:
            text += f',"user":{_quoted(self.user[:MAX_AUDIT_TEXT])}'
        if self.how is not None:
            text += f',"how":{_quoted(self.how[:MAX_AUDIT_TEXT])}'
        if self.key is not None:
            text += f',"key":{_quoted(self.key[:MAX_AUDIT_TEXT])}'
        if self.peer is not None:
            text += f',"peer":{_quoted(self.peer[:MAX_AUDIT_TEXT])}'
        if self.run is not None:
            text += f',"run":{_quoted(self.run[:MAX_AUDIT_TEXT])}'
        if self.argv is not None:
            if commands == self.commands == "argv" and fits(self.argv):
                text += f',"argv":[{",".join(map(_argument, self.argv))}]'
            else:
                text += f',"argv_sha256":"{argv_sha256(self.argv)}"'
        if self.argv0 is not None:
            text += f',"argv0":{_argument(self.argv0)}'
        if self.terminal is not None:
            text += f',"terminal":{_quoted(self.terminal)}'
        if self.recorded:
            text += f',"recorded":[{",".join(map(_quoted, self.recorded))}]'
        if self.count is not None:
            text += f',"count":{self.count}'
        if self.since is not None:
            text += f',"since":"{timestamp(self.since)}"'
        if self.transfer is not None:
            text += f',"transfer":{json.dumps(self.transfer, separators=(",", ":"))}'
        hidden = "hash" in (commands, self.commands)
        if self.forward is not None:
            shown = _without_target(self.forward) if hidden else self.forward
            text += f',"forward":{json.dumps(shown, separators=(",", ":"))}'
        if self.outcome is not None:
            text += f',"outcome":{_quoted(self.outcome[:MAX_AUDIT_TEXT])}'
        if self.detail is not None and not (hidden and self.event == "flow"):  # the sentence names the target
            text += f',"detail":{_quoted(self.detail[:MAX_AUDIT_TEXT])}'
        return text


def _without_target(forward: Mapping[str, int | float | str]) -> dict[str, int | float | str]:
    told = {name: value for name, value in forward.items() if name not in ("target", "address")}
    target = forward.get("target")
    return told if target is None else told | {"target_sha256": hashlib.sha256(str(target).encode()).hexdigest()}


def _argument(argument: bytes) -> str:
    try:
        return _quoted(argument.decode())
    except UnicodeDecodeError:
        return json.dumps(bytes_to_json(argument), separators=(",", ":"))


def timestamp(time: float) -> str:
    """Return a time in RFC 3339 format, in UTC, with milliseconds."""
    seconds, microseconds = divmod(round(time * 1_000_000), 1_000_000)
    return f"{_to_the_second(seconds)}.{microseconds // 1000:03d}Z"


@lru_cache(maxsize=8)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def fits(argv: Sequence[bytes]) -> bool:
    """Return whether the arguments have at most `MAX_ARGV` bytes, each followed by a NUL byte: 200,000 empty ones must
    not be shown, either."""
    return len(argv) <= MAX_ARGV and sum(map(len, argv)) + len(argv) <= MAX_ARGV


def argv_sha256(argv: tuple[bytes, ...], command_line: bytes | None = None) -> str:
    """Return the SHA-256 in hexadecimal of the arguments, each followed by a NUL byte as in /proc/PID/cmdline.

    `command_line` is that text, if it is known.
    """
    if _last_hashed[0][0] is not argv:
        text = b"\0".join((*argv, b"")) if command_line is None else command_line
        _last_hashed[0] = argv, hashlib.sha256(text).hexdigest()
    return _last_hashed[0][1]


_last_hashed: Final[list[tuple[tuple[bytes, ...], str]]] = [((), hashlib.sha256().hexdigest())]
"""The arguments that were hashed last: history and audit log need the same. 200,000 take 10 ms, and 10 MiB here."""
