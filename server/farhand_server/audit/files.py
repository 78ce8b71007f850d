"""The files of the audit log: the one being written, the older ones, and the note of where the chain is."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from .chain import MAX_LINE, Link

CURRENT: Final = "audit.jsonl"
HEAD: Final = "audit.head"

_OLDER: Final = re.compile(r"audit\.(\d{18})\.jsonl")
_HEAD: Final = re.compile(rb"first=(\d{18}) last=(\d{18}) hash=([0-9a-f]{64})\n")


def older(state_dir: Path) -> list[Path]:
    """The files before the current one, the oldest first; each has the number of its first entry in its name."""
    return sorted(file for file in state_dir.iterdir() if _OLDER.fullmatch(file.name))


def older_name(first: int) -> str:
    """The name of an older file that begins with entry `first`."""
    return f"audit.{first:018}.jsonl"


def first_of(file: Path) -> int | None:
    """The number of the first entry in an older file, from its name."""
    match = _OLDER.fullmatch(file.name)
    return int(match[1]) if match else None


def lines(file: Path) -> Iterator[bytes]:
    """The lines of a file, each with its newline; one that is longer than any we write is cut."""
    with file.open("rb") as stream:
        while raw := stream.readline(MAX_LINE + 1):
            yield raw


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain begins (the oldest entry kept) and ends."""

    first: int
    last: Link

    def encode(self) -> bytes:
        """One line of a fixed length, so that it is replaced by one write."""
        return f"first={self.first:018} last={self.last.seq:018} hash={self.last.hash}\n".encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self | None:
        """Return the head that was written, or None where it is no such line."""
        match = _HEAD.fullmatch(raw)
        return cls(int(match[1]), Link(int(match[2]), match[3].decode())) if match else None

    @classmethod
    def read(cls, state_dir: Path) -> Self | None:
        """Return the head of a state directory, or None where there is none that can be read."""
        try:
            return cls.decode((state_dir / HEAD).read_bytes()[:MAX_LINE])
        except FileNotFoundError:
            return None


def open_private(file: Path, flags: int) -> int:
    """Open a file that is made with mode 0600. Raises OSError."""
    return os.open(file, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)


def lock(descriptor: int) -> bool:
    """Whether the file is ours alone now (flock(2)), until it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
