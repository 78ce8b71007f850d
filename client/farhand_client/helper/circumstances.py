"""What a process has that another cannot take over: limits, groups, namespaces, an interpreter's options.

A child of the helper serves a front only where these are the same for both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_OPTIONS: Final = (
    b"PYTHON", b"LD_", b"MALLOC_", b"GLIBC_", b"OPENSSL_", b"TZ", b"RES_OPTIONS", b"LOCALDOMAIN",
    b"HOSTALIASES",
)  # fmt: skip
"""The beginnings of variables that an interpreter and its libraries read once."""

_SAME: Final = (
    b"Uid", b"Gid", b"Groups", b"CapPrm", b"CapEff", b"CapBnd", b"NoNewPrivs", b"Seccomp", b"Seccomp_filters",
)  # fmt: skip
"""Lines of proc_pid_status(5) that have to be the same."""

_USED: Final = tuple((name, b"\n%b:\t" % name) for name in (*_SAME, b"SigIgn", b"Umask"))
"""The lines that are used, with how they begin; the first, which is the name, is none of them."""

_PLACES: Final = ("ns/mnt", "ns/net", "ns/pid", "ns/user", "ns/uts", "root")
"""What names mean: paths, addresses, accounts."""

_MAX_FILE: Final = 65536
"""Bytes that are read of a file in /proc; those that are read here have 2,000."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a process has at one moment."""

    limits: bytes
    status: Mapping[bytes, bytes]
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, process: int | str) -> Circumstances:
        """Look at a process, by its pid or as `self`. Raises OSError."""
        found = [os.stat(f"/proc/{process}/{name}") for name in _PLACES]  # a third of the time
        return cls(
            _read(f"/proc/{process}/limits"),
            _lines(_read(f"/proc/{process}/status")),
            tuple((each.st_dev, each.st_ino) for each in found),
        )

    def same(self, other: Circumstances) -> bool:
        """Return whether one process can do the other's work."""
        return (
            self.limits == other.limits
            and self.places == other.places
            and all(self.status.get(name) == other.status.get(name) for name in _SAME)
        )

    def ignores(self, number: int) -> bool:
        """Return whether the process ignores a signal."""
        return bool(int(self.status[b"SigIgn"], 16) >> number - 1 & 1)

    @property
    def umask(self) -> int:
        """The process's umask."""
        return int(self.status[b"Umask"], 8)


def _lines(status: bytes) -> dict[bytes, bytes]:
    """Return those lines that are used here, of 60: the others take more time than the file."""
    found = {}
    for name, beginning in _USED:
        at = status.find(beginning)
        if at >= 0:
            at += len(beginning)
            found[name] = status[at : status.find(b"\n", at)]
    return found


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, _MAX_FILE)
    finally:
        os.close(fd)


def interpreter_options(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return what an environment says to an interpreter that starts in it."""
    options = {name: value for name, value in environment.items() if name.startswith(_OPTIONS)}
    return options | {b"LC_CTYPE": character_locale(environment)}


def character_locale(environment: Mapping[bytes, bytes]) -> bytes:
    """Return the name of the locale for characters (locale(7)); empty if none is set."""
    values = (environment.get(name) for name in (b"LC_ALL", b"LC_CTYPE", b"LANG"))
    return next((value for value in values if value), b"")
