"""Stores bytes that nobody takes yet, so that they need about as much memory as there are bytes. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from farhand_protocol.limits import KiB

COALESCED: Final = 16 * KiB
"""Bytes up to which what nobody takes is stored together: one byte alone would take forty, so that a window's bytes
that arrive one by one would take forty windows."""

UnreadBytes: TypeAlias = deque[bytes | bytearray]
"""Bytes of a stream, in chunks."""


def store_unread(stored: UnreadBytes, data: bytes | memoryview) -> None:
    """Add a copy of `data`, to the last chunk if both are small."""
    last = stored[-1] if stored else None
    if isinstance(last, bytearray) and len(last) + len(data) <= COALESCED:
        last += data
    else:
        stored.append(bytearray(data) if len(data) < COALESCED else bytes(data))
