"""Run ids: UUIDs of version 7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""

from __future__ import annotations

import os
import time


def uuid7() -> str:
    """Return a new id as 36 characters: 48 bits of Unix time in milliseconds, 74 of randomness."""
    number = int.from_bytes((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10), "big")
    number = number & ~(0xF000 << 64) | 0x7000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
