"""The chain of lines: how a line is written and checked, and the files that hold the lines.

A line is one JSON object in ASCII, without spaces, and a newline. Its last two members are `prev`, the hash of the
previous line (64 zeros in the first line), and `hash`, the SHA-256 in hexadecimal of the line's own bytes up to the
comma before `"hash"`, with a closing brace in place of that comma. So a line can be checked without a JSON parser.

`audit.jsonl` is the file being written; `audit.NUMBER.jsonl` are older files, named after their first entry.
`audit.head` tells where the chain begins and ends, so that a missing first or last entry is noticed. Once rotation has
deleted entries, it also has the place and the time of the last one of these.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, Self

GENESIS: Final = "0" * 64
"""The `prev` of the first line of all."""

MAX_AUDIT_LINE: Final = 256 << 10
"""Maximum bytes of a line: eight times `entry.MAX_ARGV`, because a control character is escaped to six bytes."""

CURRENT_FILE: Final = "audit.jsonl"
HEAD_FILE: Final = "audit.head"

_TAIL: Final = re.compile(rb'^(\{"seq":(\d{1,18}),.*"prev":"([0-9a-f]{64})"),"hash":"([0-9a-f]{64})"\}\n$', re.DOTALL)
_OLDER: Final = re.compile(r"audit\.(\d{18})\.jsonl")
_HEAD: Final = re.compile(
    rb"first=(\d{18}) last=(\d{18}) hash=([0-9a-f]{64})\n"
    rb"(?:dropped=(\d{18}) hash=([0-9a-f]{64}) time=(\d{15}) at=(\d{15})\n)?"
)


@dataclass(frozen=True, slots=True)
class ChainedLine:
    """A line's place in the chain: its number, counted from 1, and its hash."""

    seq: int
    hash: str


CHAIN_START: Final = ChainedLine(0, GENESIS)
"""The position before the first line."""


class BrokenLine(Exception):
    """A line was changed, or does not follow the previous line. The text says what is wrong."""


def encode_line(after: ChainedLine, members: str) -> tuple[bytes, ChainedLine]:
    """Return the line that holds `members` and follows `after`, and the line's place in the chain.

    `members` are JSON in ASCII without the braces, as `AuditEntry.encode` returns them.
    """
    seq = after.seq + 1
    text = f'{{"seq":{seq},{members},"prev":"{after.hash}"'.encode()
    digest = hashlib.sha256(text + b"}").hexdigest()
    return b'%b,"hash":"%b"}\n' % (text, digest.encode()), ChainedLine(seq, digest)


def parse_line(raw: bytes) -> tuple[ChainedLine, str]:
    """Return a line's place in the chain and the hash of the previous line. Raises `BrokenLine` if the line was
    changed."""
    match = _TAIL.match(raw)
    if match is None:
        if not raw.endswith(b"\n"):
            raise BrokenLine("the line is cut short")
        raise BrokenLine("this is not a line of an audit log")
    if hashlib.sha256(match[1] + b"}").hexdigest() != match[4].decode():
        raise BrokenLine("the line was changed: its hash is not that of its text")
    return ChainedLine(int(match[2]), match[4].decode()), match[3].decode()


def check_line(raw: bytes, after: ChainedLine | None) -> ChainedLine:
    """Return the place of a line that must follow `after`; None accepts any place. Raises `BrokenLine`."""
    place, prev = parse_line(raw)
    if after is None:
        return place
    if place.seq != after.seq + 1:
        raise BrokenLine(f"entry {after.seq + 1} expected, found entry {place.seq}")
    if prev != after.hash:
        raise BrokenLine("it does not follow the previous line, which was changed or replaced")
    return place


@dataclass(frozen=True, slots=True)
class ChainAnchor:
    """The last entry that rotation has deleted, which the first one kept follows. Both times are in seconds since
    1970."""

    place: ChainedLine
    time: float
    """When the entry was written."""
    dropped_at: float


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where the chain begins (the number of the oldest entry kept) and ends, and what came before, once anything was
    deleted."""

    first: int
    last: ChainedLine
    anchor: ChainAnchor | None = None

    def encode(self) -> bytes:
        """Return lines of a fixed length, so that a single write replaces them."""
        head = f"first={self.first:018} last={self.last.seq:018} hash={self.last.hash}\n"
        if (anchor := self.anchor) is not None:
            written, dropped = round(anchor.time * 1000), round(anchor.dropped_at * 1000)
            head += f"dropped={anchor.place.seq:018} hash={anchor.place.hash} time={written:015} at={dropped:015}\n"
        return head.encode()

    @classmethod
    def decode(cls, raw: bytes) -> Self | None:
        """Return the head that `encode` wrote, or None if `raw` is not such a head.

        The second line is ignored if it does not belong to the first, which an earlier program has then written alone.
        """
        match = _HEAD.fullmatch(raw)
        if match is None:
            return None
        first, anchor = int(match[1]), None
        if match[4] is not None and int(match[4]) == first - 1:
            place = ChainedLine(int(match[4]), match[5].decode())
            anchor = ChainAnchor(place, int(match[6]) / 1000, int(match[7]) / 1000)
        return cls(first, ChainedLine(int(match[2]), match[3].decode()), anchor)

    @classmethod
    def read(cls, state_dir: Path) -> Self | None:
        """Return the head of a state directory, or None if it is missing or damaged."""
        try:
            return cls.decode((state_dir / HEAD_FILE).read_bytes()[:MAX_AUDIT_LINE])
        except FileNotFoundError:
            return None


def older_files(state_dir: Path) -> list[Path]:
    """Return the files before the current one, oldest first."""
    return sorted(file for file in state_dir.iterdir() if _OLDER.fullmatch(file.name))


def older_file_name(first: int) -> str:
    """Return the name of an older file that begins with entry `first`."""
    return f"audit.{first:018}.jsonl"


def first_entry(file: Path) -> int | None:
    """Return the number of the first entry in an older file, from its name; None for any other name."""
    match = _OLDER.fullmatch(file.name)
    return int(match[1]) if match else None


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file, each with its newline. A line longer than `MAX_AUDIT_LINE` is truncated."""
    while raw := stream.readline(MAX_AUDIT_LINE + 1):
        yield raw


def last_line(file: Path) -> tuple[ChainedLine, float | None] | None:
    """Return the place and the time of the last line of a file; None if that is not a line of a log.

    Raises OSError. Only the end of the file is read.
    """
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 2 * MAX_AUDIT_LINE))
        raw = stream.read().rstrip(b"\n").rpartition(b"\n")[2] + b"\n"
    try:
        place = parse_line(raw)[0]
    except BrokenLine:
        return None
    try:
        return place, datetime.fromisoformat(json.loads(raw)["time"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return place, None


def open_private(file: Path, flags: int) -> int:
    """Open a file, creating it with mode 0600 if it is missing, and return its descriptor. Raises OSError."""
    return os.open(file, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Try to lock a file exclusively until it is closed (flock(2)). Return whether that succeeded."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
