"""Who requests what: everything that the policy needs to know about a principal and a request, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from farhand_server.runs.process.usage import ResourceLimits

Action = Literal["see", "attach", "signal"]
"""Actions on an existing run: `see` lists it, `attach` reads its output and writes its input, `signal` sends signals
and stops it."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Subject:
    """A principal as the policy sees it. `user` and `uid` name the account as which its runs execute."""

    user: str
    uid: int
    groups: frozenset[str] = frozenset()
    """Names of all groups to which the account belongs."""
    fingerprint: str | None = None
    """The fingerprint of the key that was used, as `SHA256:…`; None for a local peer."""
    local: bool = False
    """Whether the kernel (SO_PEERCRED, unix(7)) has identified the peer, rather than a key."""
    forced: bool = False
    """Whether the key has a `command=`, and so must not do anything else through other runs of the same account."""
    home: bytes = b""
    """The account's home directory, for `~` in `directories`; empty if the account has none."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a run: the account, and the key with which it was started (None for a local peer)."""

    user: str
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A requested run, in the form in which it would be executed."""

    argv: tuple[bytes, ...]
    """What will be executed, at least one element. For shell text it is `(SHELL, b"-c", TEXT)`; for a key with
    `command=` the same with the forced text, because that is executed instead of the request."""
    shell: bool = False
    """Whether `argv` starts the account's shell, for shell text, for a forced command, or as a login shell."""
    cwd: bytes = b"/"
    """The absolute path of the directory in which the run starts."""
    path: bytes = b""
    """The PATH in its environment, whoever has set it, in which a name without a slash is searched (execvp(3))."""
    environment: tuple[bytes, ...] = ()
    """Names of the variables that the request sets, and of those that a key's `environment=` sets if the user can write
    the file with that line."""
    terminal: bool = False
    """Whether the run has a terminal."""
    detach: bool = False
    """Whether the run may continue without a client, because it is to be kept, or has a longer grace period than the
    service's default."""
    leave_processes: bool = False
    """Whether processes that the program leaves behind are to continue to run."""
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    output: int | None = None
    """Maximum bytes of stdout and stderr together."""
    timeout: float | None = None
    """Maximum duration in seconds."""


@dataclass(frozen=True, slots=True)
class TransferAsked:
    """A requested transfer of files."""

    access: Literal["read", "write"]
    paths: tuple[bytes, ...]
    """What is to be read, which may be patterns (glob(7)), or the one path to which is to be written."""
    home: bytes = b"/"
    """The directory in which relative paths begin."""
    restricted: bool = False
    """Whether the key has the option `restrict`."""
    detach: bool = False
    """As in `PolicyRequest`."""
    timeout: float | None = None
    """Maximum duration in seconds."""


@dataclass(frozen=True, slots=True)
class ForwardAsked:
    """A requested tunnel. What will be asked of it is not known yet."""

    ports: bool = True
    """Whether the key leaves connections and listeners: it has neither `no-port-forwarding` nor `restrict` alone."""
    agent: bool = True
    """Whether the key leaves the forwarding of an agent."""
    detach: bool = False
    """As in `PolicyRequest`."""
    timeout: float | None = None
    """Maximum duration in seconds."""


class Lookup(Protocol):
    """What the policy knows about the file system."""

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        """Return the path of the program that execvp(3) would execute; None if it finds none.

        The path is absolute, its directory contains no symbolic links, and its last name is the one under which it was
        found.
        """

    def directory(self, path: bytes) -> bytes:
        """Return an absolute directory with symbolic links, `.` and `..` resolved (realpath(3)), even if it does not
        exist."""
