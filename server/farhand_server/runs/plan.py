"""What a run will execute, and its result. Derives the typed outcome from the leader's exit and the reason for a
stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TypeAlias

from farhand_protocol.left import LeftProcesses
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut
from farhand_server.credentials import Credentials
from farhand_server.files.order import TransferOrder, TransferReport, WorkerAccess
from farhand_server.forwards.order import ForwardOrder, ForwardTotals
from farhand_server.forwards.rules import ForwardRules
from farhand_server.programs.order_file import RunIds
from farhand_server.sharing import Rate

from .process.usage import ResourceLimits, ResourceUsage

KillReason: TypeAlias = Literal[
    "requested", "disconnected", "draining", "memory", "cpu", "file_size", "output", "spool"
]
"""Why a run was stopped, by the service, or by the kernel because of a limit that the service had set."""

EnforcedBy: TypeAlias = Literal["cgroup", "rlimit", "service"]


USUAL_REQUEST: Final = 16 << 10
"""Bytes of a request that are part of what each active run takes anyway. The largest that execve(2) accepts have two
megabytes."""

STRING_SIZE: Final = 48
"""Bytes that Python needs for a string of bytes besides its contents, and for the reference to it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who requested a run, for the record: how they logged in, with which key, and from which address.

    `request` is JSON without the values of the environment variables. With `audit` "hash" the record contains no
    arguments.
    """

    how: Literal["key", "passkey", "peer"] = "peer"
    key: str | None = None
    peer: str | None = None
    request: bytes = b"{}"
    audit: Literal["argv", "hash"] = "argv"


@dataclass(frozen=True, slots=True)
class RuleShare:
    """A rule of the policy by its name, and what it allows one account: `runs` at once, and a rate of `starts`. None
    means that it sets no limit."""

    name: str = ""
    runs: int | None = None
    starts: Rate | None = None


class TerminalSize(NamedTuple):
    """The size of a terminal in characters, 0 to 65535; 0 means unknown."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class TerminalPlan:
    """The terminal that a program gets: `name` for TERM, the initial size in characters (0 means unknown), and
    termios(3) modes under SSH's names (RFC 4254, 8), with their values."""

    name: str
    columns: int
    rows: int
    modes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class AllowedTransfer:
    """What a run transfers: it reads or writes `paths`, of which relative ones begin at `home`, and opens nothing but
    what is in the directories `roots`; None means anything that the user may open. Below `writable` the user may have
    put symbolic links. Or it sweeps what transfers to `paths` have left before the time `before`."""

    access: WorkerAccess
    paths: tuple[bytes, ...]
    home: bytes
    roots: tuple[bytes, ...] | None = None
    writable: tuple[bytes, ...] = ()
    before: float = 0.0

    def order(self, user: Credentials | None) -> TransferOrder:
        """Return the order for a worker that acts as `user`, or as the service's own account."""
        ids = None if user is None else RunIds(user.uid, user.gid, user.groups)
        return TransferOrder(self.access, self.paths, self.home, self.roots, ids, self.writable, self.before)


@dataclass(frozen=True, slots=True)
class AllowedForward:
    """What a tunnel may do: all that its client asks of it, as far as `rules` allow. Relative paths of Unix sockets
    begin at `home`."""

    rules: ForwardRules
    home: bytes

    def order(self, user: Credentials | None, records: int) -> ForwardOrder:
        """Return the order for a worker that acts as `user`, or as the service's own account, and sends its records to
        the descriptor `records`."""
        ids = None if user is None else RunIds(user.uid, user.gid, user.groups)
        return ForwardOrder(self.rules, self.home, ids, records)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided about a run before it starts. Times are in seconds, sizes in bytes.

    `fingerprint` distinguishes this request from another request with the same id. `keep` tells whether the run
    continues without clients, `grace` how long it waits for a client to return, and `linger` how long it waits for the
    end of the output after the leader's exit. `spool` is the memory for each stream; `disk_spool` is the size of each
    stream's ring on disk, if the program must not wait for readers. `output` bounds both streams together. Without
    `credentials` the program runs as the service's own account. `argv0` is the program's name, if that is not
    `argv[0]`. With `record` the run is stopped if its complete output cannot be kept; with `record_input` its stdin is
    recorded. With `leave_processes` the processes that the program leaves behind are not killed.
    `login` and `internal` are for listings. `rule` is the policy's rule that allowed the run, and what it allows one
    account. If `home` is not empty and the account cannot enter it, it is replaced by `/` in `cwd`. With `judged`, the
    policy has judged `cwd`, which has no symbolic links, and must still be the same at the start. With `transfer`, the
    program is the service's own transfer worker, and `argv` is only for people; with
    `forward` it is its forward worker.
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
    leave_processes: bool = False
    login: bool = False
    internal: bool = False
    rule: RuleShare = field(default_factory=RuleShare)
    home: bytes = b""
    judged: bool = False
    transfer: AllowedTransfer | None = None
    forward: AllowedForward | None = None

    @property
    def in_cgroup(self) -> bool:
        """Whether the run gets its own cgroup, if cgroups are delegated to the service."""
        if self.cgroup != "auto":
            return self.cgroup == "always"
        return self.credentials is not None or self.limits.memory is not None or self.limits.processes is not None

    @property
    def request_size(self) -> int:
        """The memory that the request takes while the run is active, in bytes; 0 if it is no larger than most."""
        argv, env = self.argv, self.env
        size = len(self.origin.request) + STRING_SIZE * (len(argv) + 2 * len(env))
        size += sum(map(len, argv)) + sum(map(len, env)) + sum(map(len, env.values()))
        return size if size > USUAL_REQUEST else 0

    def without_request(self) -> Plan:
        """Return a copy without the parts that are not needed once the run is over. They may be megabytes, and are on
        record."""
        how, key, peer, audit = self.origin.how, self.origin.key, self.origin.peer, self.origin.audit
        origin = Origin(how, key, peer, audit=audit)
        return _changed(self, argv=(), env={}, origin=origin, transfer=None, forward=None)

    def repeated(self, id: str, fingerprint: bytes) -> Plan:
        """Return a copy for another run."""
        return _changed(self, id=id, fingerprint=fingerprint)


_values: Final = attrgetter(*(each.name for each in fields(Plan)))
_setters: Final = tuple(getattr(Plan, each.name).__set__ for each in fields(Plan))


def _changed(plan: Plan, **changes: object) -> Plan:
    # As `dataclasses.replace` does it, this would take a hundredth of a short run's time.
    copied: Plan = object.__new__(Plan)
    for put, value in zip(_setters, _values(plan), strict=True):
        put(copied, value)
    for name, value in changes.items():
        object.__setattr__(copied, name, value)
    return copied


@dataclass(frozen=True, slots=True)
class RunResult:
    """What is known about a run that is over: `duration` is in seconds; `stdout` and `stderr` are the bytes written.

    `lingered` tells whether the output was cut off because other processes kept it open for longer than the linger
    time. `applied` tells what enforced each of the run's limits, None if nothing could. `left_processes` are those that
    the program has left behind when it had ended on its own. `transfer` is what a transfer has done, `forward` what
    went through a tunnel.
    """

    outcome: Outcome
    stdout: int
    stderr: int
    duration: float
    lingered: bool = False
    usage: ResourceUsage | None = None
    applied: Mapping[str, EnforcedBy | None] = field(default_factory=dict)
    left_processes: LeftProcesses | None = None
    transfer: TransferReport | None = None
    forward: ForwardTotals | None = None


StopReason: TypeAlias = KillReason | Literal["timed_out", "idle"]


def outcome_of(plan: Plan, why: StopReason | None, message: str | None, code: int) -> Outcome:
    """Return the outcome of a run whose leader ended with exit code `code`, or by signal `-code`.

    `why` is the first reason for stopping it, None if it was not stopped; `message` is a sentence about the reason.
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
