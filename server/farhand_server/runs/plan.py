"""What a run will execute, and its result: from the leader's exit and the reason for a stop to one typed outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut
from farhand_server.credentials import Credentials

from .process.usage import ResourceLimits, ResourceUsage

KillReason: TypeAlias = Literal[
    "requested", "disconnected", "draining", "memory", "cpu", "file_size", "output", "spool"
]
"""Why the service has stopped a run, or the kernel for a limit that the service has set."""

EnforcedBy: TypeAlias = Literal["cgroup", "rlimit", "service"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who has requested a run, for the record: how they logged in, with which key, from which address.

    `request` is JSON without the values of the environment. With `audit` "hash" the record contains no arguments.
    """

    how: Literal["key", "peer"] = "peer"
    key: str | None = None
    peer: str | None = None
    request: bytes = b"{}"
    audit: Literal["argv", "hash"] = "argv"


class TerminalSize(NamedTuple):
    """The size of a terminal in characters, 0 to 65535; 0 is unknown."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class TerminalPlan:
    """The terminal that a program gets: `name` for TERM, the first size in characters (0 is unknown), and modes of
    termios(3) under SSH's names (RFC 4254, 8), with their values."""

    name: str
    columns: int
    rows: int
    modes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will execute, with everything decided. Times are in seconds, sizes in bytes.

    `fingerprint` tells this request from another with the same id. `keep` is whether the run continues without clients,
    `grace` how long it waits for one to return, `linger` how long it waits for the end of the output after the leader's
    exit. `spool` is the memory for each stream, `disk_spool` the size of the ring on disk for each, if the program must
    not wait for readers. `output` bounds both streams together. Without `credentials` the program runs as the service's
    own account. `argv0` is the name that the program is given, if that is not `argv[0]`. With `record` the run is
    stopped if its output cannot be kept whole; with `record_input` its stdin is recorded.
    """

    id: str
    owner: str
    uid: int
    fingerprint: bytes
    command: str
    argv: tuple[bytes, ...]
    cwd: bytes
    env: Mapping[bytes, bytes]
    stdin: bool
    merge_stderr: bool
    timeout: float | None
    idle_timeout: float | None
    kill_after: float
    linger: float
    keep: bool
    grace: float
    spool: int
    disk_spool: int | None = None
    output: int | None = None
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    credentials: Credentials | None = None
    cgroup: Literal["auto", "always", "never"] = "auto"
    origin: Origin = field(default_factory=Origin)
    argv0: bytes | None = None
    terminal: TerminalPlan | None = None
    record: bool = False
    record_input: bool = False

    @property
    def in_cgroup(self) -> bool:
        """Whether the run gets a cgroup of its own, if cgroups are delegated to the service."""
        if self.cgroup != "auto":
            return self.cgroup == "always"
        return self.credentials is not None or self.limits.memory is not None or self.limits.processes is not None

    def without_request(self) -> Plan:
        """Return a plan without what is not needed once the run is over: it may be megabytes, and is on record."""
        return replace(self, argv=(), env={}, origin=replace(self.origin, request=b"{}"))


@dataclass(frozen=True, slots=True)
class RunResult:
    """What is known of a run that is over: `duration` in seconds, `stdout` and `stderr` in bytes written.

    `lingered` is whether its output was cut off because other processes had it open for longer than the linger time.
    `applied` tells what has enforced each of its limits.
    """

    outcome: Outcome
    stdout: int
    stderr: int
    duration: float
    lingered: bool = False
    usage: ResourceUsage | None = None
    applied: Mapping[str, EnforcedBy] = field(default_factory=dict)


StopReason: TypeAlias = KillReason | Literal["timed_out", "idle"]


def outcome_of(plan: Plan, why: StopReason | None, message: str | None, code: int) -> Outcome:
    """Return the outcome of a leader that ended with the exit code `code`, or by the signal `-code`.

    `why` is the first reason for which it was stopped, None if it was not, and `message` a sentence about that.
    """
    exit_code, number = (code, None) if code >= 0 else (None, -code)
    match why:
        case "timed_out":
            assert plan.timeout is not None
            return TimedOut(timeout=plan.timeout, code=exit_code, signal=number)
        case "idle":
            assert plan.idle_timeout is not None
            return TimedOut(timeout=plan.idle_timeout, idle=True, code=exit_code, signal=number)
        case None:
            return Exited(code=code) if number is None else Signaled(signal=number)
        case reason:
            return Killed(reason=reason, message=message, code=exit_code, signal=number)
