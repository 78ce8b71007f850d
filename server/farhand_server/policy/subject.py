"""Who asks, and what for: what the policy has to know of a principal and of a request, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from farhand_server.runs.process.usage import ResourceLimits

Action = Literal["see", "attach", "signal"]
"""What can be done with a run that is there: `see` lists it, `attach` reads its output and writes its input, `signal`
sends signals and stops it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A principal, as the policy sees it. `user` and `uid` are the account that its runs have."""

    user: str
    uid: int
    groups: frozenset[str] = frozenset()
    """Names of all the groups of the account."""
    fingerprint: str | None = None
    """Of the key that was used, as `SHA256:…`; None for a local peer."""
    local: bool = False
    """Known by the kernel's word (SO_PEERCRED, unix(7)) and not by a key."""
    forced: bool = False
    """The key has a `command=`: it must not get at more than that by way of other runs of the same account."""
    home: bytes = b""
    """The account's home directory, for `~` in `directories`; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a run is: the account, and the key that started it (None for a local peer)."""

    user: str
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A run that is asked for, as it would be executed."""

    argv: tuple[bytes, ...]
    """What will be executed, at least one element: for shell text `(SHELL, b"-c", TEXT)`, for a key with `command=` the
    same with the forced text, since that is what runs and not what was asked for."""
    shell: bool = False
    """`argv` is the account's shell, started for shell text, for a forced command or as a login shell."""
    cwd: bytes = b"/"
    """The directory it starts in, absolute."""
    path: bytes = b""
    """The PATH in its environment, by which a name without a slash is found (execvp(3)), whoever has set it."""
    environment: tuple[bytes, ...] = ()
    """Names of the variables that the request sets; also those that a key's `environment=` sets, where the line is in
    a file that the user can write."""
    terminal: bool = False
    """It is to have a terminal."""
    detach: bool = False
    """It may go on without a client: it is to be kept, or to have a longer grace than the service gives by itself."""
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    output: int | None = None
    """Bytes that both streams may carry."""
    timeout: float | None = None
    """Seconds that it may take."""


class Lookup(Protocol):
    """The policy's only view of the file system."""

    def program(self, name: bytes, *, path: bytes, cwd: bytes) -> bytes | None:
        """Return the path of the program that execvp(3) would execute; None where there is none.

        It is absolute, its directory has no symbolic links in it, and its last name is the one it was found by.
        """

    def directory(self, path: bytes) -> bytes:
        """Return an absolute directory without symbolic links, `.` and `..` (realpath(3)), also where it is missing."""
