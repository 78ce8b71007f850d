"""The unit on the wire: an 8-byte header and a payload.

    0                   1                   2                   3
    |        payload length (24 bits)               |  kind (8)     |
    |                    channel (32 bits)                          |

Both words are big-endian, so that a length beyond the limit is refused from the header alone.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

FRAME_HEADER: Final = Struct(">II")


class Kind(IntEnum):
    """What a frame's payload is."""

    MESSAGE = 1
    STDIN = 2
    STDOUT = 3
    STDERR = 4


def encode_header(kind: int, channel: int, length: int) -> bytes:
    """Return the 8 header bytes. The caller has checked the ranges."""
    return FRAME_HEADER.pack(length << 8 | kind, channel)


def encode_frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a whole frame as one bytes object."""
    return FRAME_HEADER.pack(len(payload) << 8 | kind, channel) + payload
