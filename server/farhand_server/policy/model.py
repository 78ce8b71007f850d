"""The policy tree: a list of rules, each of which says whom it is about and what it allows. Frozen and strict.

Rules only ever allow, and what no rule allows is denied. So the order of rules determines which limits apply, but never
whether something is allowed. `policy.toml` here explains each key for administrators.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from farhand_protocol.model import MAX_SECONDS
from farhand_server.config.model import Section
from farhand_server.config.values import ArrayAsTuple, ByteSize, ConfiguredRate, Seconds
from farhand_server.forwards.rules import parse_forward_pattern
from farhand_server.sharing import NO_BOUNDS, ShareBounds

from .patterns import ANYTHING, MORE_ARGUMENTS
from .subject import Action, Subject

MAX_ITEMS = 1000
"""Maximum number of rules, of commands and of names: far more than anyone can keep track of, and each one costs every
request a few µs."""

PLAIN_ENVIRONMENT = ("LANG", "LC_*", "TERM")
"""The variables that a request may set unless its rule says otherwise: sshd's AcceptEnv on Debian, and TERM. None of
them can change which program is executed."""

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")

RuleName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
VariablePattern = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")]
CommandElement = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]


def _command(command: tuple[str, ...]) -> tuple[str, ...]:
    program = command[0]
    parts = program.split("/")
    if program != ANYTHING and (parts[0] or not {"", ".", ".."}.isdisjoint(parts[1:])):
        raise ValueError(
            f"the first element must be {ANYTHING!r} or the absolute path of a program without '.', '..' and '//', "
            f"not {program!r}"
        )
    if MORE_ARGUMENTS in command[:-1]:
        raise ValueError(f"{MORE_ARGUMENTS!r} can only be the last element")
    return command


def _directory(directory: str) -> str:
    if not directory.startswith("/") and directory != "~" and not directory.startswith("~/"):
        raise ValueError("must be an absolute path, or begin with ~")
    return directory


def _fingerprint(text: str) -> str:
    if text != ANYTHING and not _FINGERPRINT.fullmatch(text):
        raise ValueError(f"must be a fingerprint as ssh-keygen -l shows it, SHA256:…, or {ANYTHING!r}")
    return text


Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
CommandPattern = Annotated[
    tuple[CommandElement, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS), AfterValidator(_command)
]
AllowedDirectory = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$"), AfterValidator(_directory)]


class Who(Section):
    """Whom a rule is about. At least one item of each given kind must match."""

    users: Annotated[tuple[RuleName, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Names of accounts, however they log in; `*` stands for every account."""

    keys: Annotated[tuple[Fingerprint, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Fingerprints of keys; `*` stands for everyone who logs in by key."""

    groups: Annotated[tuple[RuleName, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Names of groups to which the account belongs."""

    uids: (
        Annotated[tuple[Annotated[int, Field(ge=0)], ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)]
        | None
    ) = None
    """Uids of accounts on this machine that connect over the Unix socket."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.users is None and self.keys is None and self.groups is None and self.uids is None:
            raise ValueError(f'names nobody: give users, keys, groups or uids (everybody is users = ["{ANYTHING}"])')
        return self

    def unmatched(self, subject: Subject) -> str | None:
        """Return the first kind of which no item matches `subject`; None if the rule is about the subject."""
        if self.users is not None and ANYTHING not in self.users and subject.user not in self.users:
            return "users"
        if self.groups is not None and subject.groups.isdisjoint(self.groups):
            return "groups"
        if self.keys is not None and (
            subject.local or (ANYTHING not in self.keys and subject.fingerprint not in self.keys)
        ):
            return "keys"
        if self.uids is not None and not (subject.local and subject.uid in self.uids):
            return "uids"
        return None


class RuleLimits(Section):
    """The most that a run may use, and how many runs one account may have. A request can ask for less. If neither sets
    a limit, there is none but the account's share of the service."""

    memory: Annotated[ByteSize, Field(ge=1, le=1 << 62)] | None = None
    """Maximum memory in bytes."""

    cpu: Annotated[Seconds, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Maximum processor time in seconds."""

    processes: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    files: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    """Maximum number of descriptors open at once."""

    file_size: Annotated[ByteSize, Field(ge=0, le=1 << 62)] | None = None
    """Maximum size in bytes of a file that the run writes."""

    output: Annotated[ByteSize, Field(ge=0, le=1 << 62)] | None = None
    """Maximum bytes of stdout and stderr together."""

    timeout: Annotated[Seconds, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Maximum duration of a run in seconds."""

    runs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Maximum number of runs that one account may have at once by this rule."""

    starts: ConfiguredRate | None = None
    """How many runs one account may start by this rule, such as `10/s`. Others wait, or are refused."""


FileRoots = Annotated[tuple[AllowedDirectory, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)]


class RuleFiles(Section):
    """Which files may be transferred. Whatever it allows, a transfer has no more rights than the account."""

    read: FileRoots = ()
    """Directories in and below which files may be read."""

    write: FileRoots = ()
    """Directories in and below which files may be written and deleted."""

    restricted_keys: bool = False
    """Whether keys with `command=` or `restrict` in authorized_keys may transfer files, too."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.read or self.write):
            raise ValueError("allows nothing: give the directories of read or write, or leave it out")
        return self


def _forward_pattern(text: str) -> str:
    parse_forward_pattern(text)
    return text


ForwardPatterns = Annotated[
    tuple[Annotated[str, AfterValidator(_forward_pattern)], ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)
]


class RuleForward(Section):
    """What tunnels may do. Whatever it allows, a tunnel has no more rights than the account."""

    connect: ForwardPatterns = ()
    """Where tunnels may connect to: `HOST:PORTS` and `unix:PATH` (`forwards.rules`)."""

    listen: ForwardPatterns = ()
    """Where tunnels may listen; `localhost` stands for all loopback addresses."""

    agent: bool = False
    """Whether the client's agent may be forwarded."""

    @model_validator(mode="after")
    def _anything(self) -> Self:
        if not (self.connect or self.listen or self.agent):
            raise ValueError("allows nothing: give the patterns of connect or listen, or agent, or leave it out")
        return self


class Rule(Section):
    """One rule: whom it is about, and what it allows."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    who: Who

    commands: Annotated[tuple[CommandPattern, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)] = ()
    """Commands. Each is a list with one pattern per element: first the program's path, then its arguments."""

    shell: bool = False
    """Whether shell text and login shells are allowed. This allows everything, because what a shell executes is not
    checked."""

    terminal: bool | None = None
    """Whether runs may have a terminal; by default only with `shell`. On a terminal, many programs offer a shell (a
    pager's `!`, an editor's `:!`), which a rule without `shell` does not intend."""

    detach: bool = False
    """Whether runs may continue without a client."""

    leave_processes: bool | Literal["always"] = False
    """Whether runs may leave processes running when their program has ended, if the request asks for that, or
    `always`. Such processes outlive the time limit, and belong to no run."""

    record: bool = False
    """Whether to allow only runs whose complete output is kept. They do not start if that is impossible, and are
    stopped when the space is used up."""

    others: Annotated[tuple[Action, ...], ArrayAsTuple, Field(max_length=3)] = ()
    """The actions allowed on the runs of others. `attach` and `signal` include `see`."""

    environment: Annotated[tuple[VariablePattern, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)] = PLAIN_ENVIRONMENT
    """Patterns for the names of environment variables that a request may set."""

    directories: (
        Annotated[tuple[AllowedDirectory, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None
    ) = None
    """A run must start in or below one of these directories; `~` is the account's home."""

    files: RuleFiles | None = None
    """The files that may be transferred. Without it, a rule with `shell` and without `record` allows all files: a shell
    could read and write them anyway, and any other rule allows none."""

    forward: RuleForward | None = None
    """What tunnels may connect to and listen on. Without it, a rule with `shell` and without `record` allows every
    connection, listeners on loopback addresses and Unix sockets, and the agent: programs in a shell could do the same.
    Any other rule allows none."""

    limits: RuleLimits = Field(default_factory=RuleLimits)

    audit: Literal["argv", "hash"] = "argv"
    """What the audit log shows of a command: its arguments or only their SHA-256."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.commands or self.shell or self.others or self.files or self.forward):
            raise ValueError(
                "allows nothing: give commands, shell, files, forward or others. What no rule allows is denied anyway"
            )
        return self

    @property
    def allows_terminal(self) -> bool:
        """Whether runs that this rule admits may have a terminal."""
        return self.shell if self.terminal is None else self.terminal


class AccountBound(Section):
    """The most that one account may have of what all users share. Without a bound it has its share of the service."""

    users: Annotated[tuple[RuleName, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Names of accounts; `*` stands for every account."""

    groups: Annotated[tuple[RuleName, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Names of groups to which the account belongs."""

    runs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Maximum number of runs at once, by all rules together."""

    connections: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    waits: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    memory: Annotated[ByteSize, Field(ge=1, le=1 << 62)] | None = None
    """Maximum bytes of output and stdin that nobody has read, and of large requests."""

    disk: Annotated[ByteSize, Field(ge=1, le=1 << 62)] | None = None
    """Maximum bytes of output in files, of active runs and of those that are over."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.users is None and self.groups is None:
            raise ValueError(f'names nobody: give users or groups (everybody is users = ["{ANYTHING}"])')
        return self

    def is_about(self, user: str, groups: frozenset[str]) -> bool:
        """Return whether it bounds this account: it matches at least one item of each given kind."""
        named = self.users is None or ANYTHING in self.users or user in self.users
        return named and (self.groups is None or not groups.isdisjoint(self.groups))


class Policy(Section):
    """The rules, in the order in which they are tried. Without rules, everything is denied."""

    rules: Annotated[tuple[Rule, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)] = ()

    bounds: Annotated[tuple[AccountBound, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)] = ()
    """What accounts may have. Of those that are about an account, the first counts."""

    def bounds_of(self, user: str, groups: frozenset[str]) -> ShareBounds:
        """Return the bounds of an account."""
        for each in self.bounds:
            if each.is_about(user, groups):
                return ShareBounds(each.runs, each.connections, each.waits, each.memory, each.disk)
        return NO_BOUNDS

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        names = [rule.name for rule in self.rules]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rules have the name {twice[0]!r}")
        return self
