"""Ids of runs and keys of attachments. Ids are UUIDs of version 7 (RFC 9562, section 5.7), which sort by time."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# No regular expressions: every command imports this, and few import `re`.
_CHARACTERS: Final = frozenset("0123456789abcdef-")
_PARTS: Final = [8, 4, 4, 4, 12]


def uuid7() -> str:
    """Return a new id of 36 characters, with 48 bits of Unix time in milliseconds and 74 random bits."""
    number = int.from_bytes((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10), "big")
    number = number & ~(0xF000 << 64) | 0x7000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_key() -> bytes:
    """Return a key for an attachment: 16 random bytes, so that nobody can guess it and take over the attachment."""
    return os.urandom(16)


def is_run_id(text: str) -> bool:
    """Return whether `text` is a complete run id: a UUID of any version (RFC 9562, section 4), in lower case."""
    return _CHARACTERS.issuperset(text) and [len(part) for part in text.split("-")] == _PARTS


def checked_id(text: str) -> str:
    """Return `text` if it is a complete run id. Raises ValueError."""
    if not is_run_id(text):
        raise ValueError(f"{text!r} is not a run id; write a UUID in lower case: 01890a5d-ac96-774b-bcce-b302099a8057")
    return text


def checked_prefix(text: str) -> str:
    """Return `text` if a run id can begin with it. Raises ValueError."""
    if not (1 <= len(text) <= 36 and _CHARACTERS.issuperset(text)):
        raise ValueError(f"no run id begins with {text!r}; ids consist of digits, the letters a to f, and hyphens")
    return text
