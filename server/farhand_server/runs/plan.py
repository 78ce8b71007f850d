"""What will run, and what came of it.

How a run has ended: from the leader's exit and the reason for which it was stopped to one typed outcome.
"""

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
"""Why the service stopped a run, or the kernel did for a bound of the service's."""

EnforcedBy: TypeAlias = Literal["cgroup", "rlimit", "service"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a run, for the record: how they logged in, with which key, from where, and in what words.

    `request` is JSON without the values of the environment. With `audit` hash the record shows no arguments.
    """

    how: Literal["key", "peer"] = "peer"
    key: str | None = None
    peer: str | None = None
    request: bytes = b"{}"
    audit: Literal["argv", "hash"] = "argv"


class TerminalSize(NamedTuple):
    """How many characters a terminal shows, 0 to 65535; 0 is unknown."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class TerminalPlan:
    """The terminal that a program finds: `name` for TERM, the first size in characters (0 is unknown), and modes of
    termios(3) under SSH's names (RFC 4254, 8), with their values."""

    name: str
    columns: int
    rows: int
    modes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, with everything decided. Times in seconds, sizes in bytes, each `spool` for each stream.

    `fingerprint` tells this request from another with the same id. `disk_spool` is the size of the ring on disk where
    the program is not to wait for readers. `output` bounds both streams together. Without `credentials` the program
    runs as the service's own account. `argv0` is what the program is told as its name where that is not `argv[0]`.
    With `record` the run is stopped where its output cannot be kept whole; with `record_input` what is typed is kept.
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
        """Whether the run is to have a cgroup, where the service has one to give."""
        if self.cgroup != "auto":
            return self.cgroup == "always"
        return self.credentials is not None or self.limits.memory is not None or self.limits.processes is not None

    def without_request(self) -> Plan:
        """Return what is still of use once the run is over: the rest may be megabytes, and is on record."""
        return replace(self, argv=(), env={}, origin=replace(self.origin, request=b"{}"))


@dataclass(frozen=True, slots=True)
class RunResult:
    """What is known of a run that is over. `duration` in seconds; `stdout` and `stderr` in bytes written.

    `applied` says how each of its bounds was enforced.
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
    """Return the outcome of a leader that ended with `code`, or by the signal of that number with a minus.

    `why` is the first reason for which it was stopped, None where nobody stopped it; `message` a sentence about that.
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
