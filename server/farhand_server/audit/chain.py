"""One line of the audit log: how it is written, and how it is checked.

A line is one JSON object in ASCII, without spaces, and a newline. Its last two members are `prev`, the hash of the line
before (64 zeros in the first), and `hash`: the SHA-256 in hexadecimal of the line's own bytes up to the comma before
`"hash"`, with a closing brace in place of that comma. So a line can be checked as it stands, without a parser.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

GENESIS: Final = "0" * 64
"""What the first line of all has for `prev`."""

MAX_LINE: Final = 256 << 10
"""Bytes of a line: eight times `entry.MAX_ARGV`, since a control character is written with six."""

_TAIL: Final = re.compile(rb'^(\{"seq":(\d{1,18}),.*"prev":"([0-9a-f]{64})"),"hash":"([0-9a-f]{64})"\}\n$', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Link:
    """The place in the chain that a line takes."""

    seq: int
    hash: str


START: Final = Link(0, GENESIS)


class BrokenLine(Exception):
    """A line does not follow the one before, or is not as it was written; the text says what is wrong with it."""


def line(after: Link, members: Mapping[str, object]) -> tuple[bytes, Link]:
    """Return the line that holds `members`, behind `after`, and its place."""
    seq = after.seq + 1
    told = json.dumps({"seq": seq, **members, "prev": after.hash}, separators=(",", ":"))
    digest = hashlib.sha256(told.encode()).hexdigest()
    return f'{told[:-1]},"hash":"{digest}"}}\n'.encode(), Link(seq, digest)


def parse(raw: bytes) -> tuple[Link, str]:
    """Return a line's place and the hash of the line before. Raises `BrokenLine` where it is not as it was written."""
    match = _TAIL.match(raw)
    if match is None:
        if not raw.endswith(b"\n"):
            raise BrokenLine("the line is cut short")
        raise BrokenLine("this is no line of an audit log")
    if hashlib.sha256(match[1] + b"}").hexdigest() != match[4].decode():
        raise BrokenLine("the line was changed: its hash is not that of its text")
    return Link(int(match[2]), match[4].decode()), match[3].decode()


def check(raw: bytes, after: Link | None) -> Link:
    """Return the place of a line that follows `after`; any place will do for None. Raises `BrokenLine`."""
    link, prev = parse(raw)
    if after is None:
        return link
    if link.seq != after.seq + 1:
        raise BrokenLine(f"entry {after.seq + 1} should stand here, and this is entry {link.seq}")
    if prev != after.hash:
        raise BrokenLine("it does not follow the line before, which was changed or replaced")
    return link
