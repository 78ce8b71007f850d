"""Who asks for what: what the policy has to know about a principal and a request, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from farhand_server.runs.process.usage import ResourceLimits

Action = Literal["see", "attach", "signal"]
"""What can be done with an existing run: `see` lists it, `attach` reads its output and writes its input, `signal` sends
signals and stops it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A principal, as the policy sees it. `user` and `uid` are the account that its runs execute as."""

    user: str
    uid: int
    groups: frozenset[str] = frozenset()
    """Names of all groups of the account."""
    fingerprint: str | None = None
    """Of the key that was used, as `SHA256:…`; None for a local peer."""
    local: bool = False
    """Identified by the kernel (SO_PEERCRED, unix(7)) and not by a key."""
    forced: bool = False
    """The key has a `command=`: it must not do more than that through other runs of the same account."""
    home: bytes = b""
    """The account's home directory, for `~` in `directories`; empty if it has none."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a run: the account, and the key that started it (None for a local peer)."""

    user: str
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A requested run, as it would be executed."""

    argv: tuple[bytes, ...]
    """What will be executed, at least one element: for shell text `(SHELL, b"-c", TEXT)`, for a key with `command=` the
    same with the forced text, since that is executed instead of the request."""
    shell: bool = False
    """`argv` is the account's shell, started for shell text, for a forced command or as a login shell."""
    cwd: bytes = b"/"
    """The directory it starts in, absolute."""
    path: bytes = b""
    """The PATH in its environment, where a name without a slash is searched (execvp(3)), whoever set it."""
    environment: tuple[bytes, ...] = ()
    """Names of the variables that the request sets; also those that a key's `environment=` sets, if the line is in a
    file that the user can write."""
    terminal: bool = False
    """It has a terminal."""
    detach: bool = False
    """It may continue without a client: it is to be kept, or to have a longer grace period than the service's own."""
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    output: int | None = None
    """Bytes that both streams may carry."""
    timeout: float | None = None
    """Maximum duration in seconds."""


class Lookup(Protocol):
    """The policy's only view of the file system."""

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        """Return the path of the program that execvp(3) would execute; None if it finds none.

        It is absolute, its directory is without symbolic links, and its last name is the one it was found by.
        """

    def directory(self, path: bytes) -> bytes:
        """Return an absolute directory without symbolic links, `.` and `..` (realpath(3)), even if it does not
        exist."""
