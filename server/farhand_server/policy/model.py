"""The policy tree: rules in their order, each with whom it is about and what it allows. Frozen and strict.

There are only rules that allow, and what none allows is denied: the order decides whose limits hold, and never whether
something is allowed. `deploy/policy.toml` explains each key for administrators.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from farhand_protocol.model import MAX_SECONDS
from farhand_server.config.model import Section
from farhand_server.config.values import ArrayAsTuple, ByteSize, Seconds

from .patterns import ANYTHING, FURTHER
from .subject import Action, Subject

MAX_ITEMS = 1000
"""Of rules, of commands, of names: far more than a person can keep in view, and each costs every request some µs."""

PLAIN_ENVIRONMENT = ("LANG", "LC_*", "TERM")
"""What a request may set unless its rule says otherwise: nothing that changes which program a command turns out to be.
As sshd's AcceptEnv on Debian, and TERM."""

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Variable = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")]
Element = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]


def _command(command: tuple[str, ...]) -> tuple[str, ...]:
    program = command[0]
    parts = program.split("/")
    if program != ANYTHING and (parts[0] or not {"", ".", ".."}.isdisjoint(parts[1:])):
        raise ValueError(
            f"the first element must be {ANYTHING!r} or the absolute path of a program without '.', '..' and '//', "
            f"not {program!r}"
        )
    if FURTHER in command[:-1]:
        raise ValueError(f"{FURTHER!r} can only be the last element")
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
Command = Annotated[
    tuple[Element, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS), AfterValidator(_command)
]
Directory = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$"), AfterValidator(_directory)]


class Who(Section):
    """Whom a rule is about. Of each kind given, one must match."""

    users: Annotated[tuple[Name, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Names of accounts, however they come in; `*` is every account."""

    keys: Annotated[tuple[Fingerprint, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Fingerprints of keys; `*` is whoever logged in by key."""

    groups: Annotated[tuple[Name, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Names of groups of the account."""

    uids: (
        Annotated[tuple[Annotated[int, Field(ge=0)], ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)]
        | None
    ) = None
    """Numbers of accounts on this machine that come in over the Unix socket."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.users is None and self.keys is None and self.groups is None and self.uids is None:
            raise ValueError(f'names nobody: give users, keys, groups or uids (everybody is users = ["{ANYTHING}"])')
        return self

    def unmatched(self, subject: Subject) -> str | None:
        """The first kind of which none matches `subject`; None where the rule is about it."""
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
    """The most that a run may use; a request can ask for less, and where neither says anything there is no bound."""

    memory: Annotated[ByteSize, Field(ge=1, le=1 << 62)] | None = None
    """Bytes."""

    cpu: Annotated[Seconds, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Seconds of processor time."""

    processes: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    files: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    """Open at once."""

    file_size: Annotated[ByteSize, Field(ge=0, le=1 << 62)] | None = None
    """Bytes that a file written may have."""

    output: Annotated[ByteSize, Field(ge=0, le=1 << 62)] | None = None
    """Bytes that both streams of a run may carry together."""

    timeout: Annotated[Seconds, Field(gt=0, le=MAX_SECONDS)] | None = None
    """Seconds that a run may take."""


class Rule(Section):
    """Allows somebody something."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    who: Who

    commands: Annotated[tuple[Command, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)] = ()
    """Commands, each a pattern for every element: the program's path first, then its arguments."""

    shell: bool = False
    """Text for a shell, and login shells. This is everything: what a shell runs is not looked at."""

    terminal: bool | None = None
    """Runs with a terminal; by default where there is `shell`. To a person at a terminal many programs give a shell (a
    pager's `!`, an editor's `:!`), which the rules of those without one have not reckoned with."""

    detach: bool = False
    """Runs that go on without a client."""

    record: bool = False
    """Runs only whose output is kept whole: they do not start where it cannot be, and are stopped where it is full."""

    others: Annotated[tuple[Action, ...], ArrayAsTuple, Field(max_length=3)] = ()
    """What may be done with the runs of others. Who may attach or signal may see, too."""

    environment: Annotated[tuple[Variable, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)] = PLAIN_ENVIRONMENT
    """Names of variables that a request may set, as patterns."""

    directories: Annotated[tuple[Directory, ...], ArrayAsTuple, Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """A run starts in one of these or below; `~` is the home of the account."""

    limits: RuleLimits = RuleLimits()

    audit: Literal["argv", "hash"] = "argv"
    """What the audit log shows of a command: its arguments, or their SHA-256 alone."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.commands or self.shell or self.others):
            raise ValueError("allows nothing: give commands, shell or others. What no rule allows is denied anyway")
        return self

    @property
    def allows_terminal(self) -> bool:
        """Whether what the rule admits may have a terminal."""
        return self.shell if self.terminal is None else self.terminal


class Policy(Section):
    """Rules, in the order in which they are tried. Without any, everything is denied."""

    rules: Annotated[tuple[Rule, ...], ArrayAsTuple, Field(max_length=MAX_ITEMS)] = ()

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        names = [rule.name for rule in self.rules]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rules have the name {twice[0]!r}")
        return self
