"""What the two ends of the relay have in common: a channel of the shared connection, and what they read of frames.

No task, no future and no model for a frame: its header says where it belongs. Of a message only the type matters, and
only to know when a channel is closed on both sides and its number can be forgotten.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, Protocol

from farhand_protocol.limits import FRAME_HEADER_SIZE

from .framing import BrokenFrame

_CHANNEL: Final = struct.Struct(">I")


def message_type(frame: memoryview) -> bytes:
    """Return the type of the message in a frame; empty if it has none."""
    head = bytes(frame[FRAME_HEADER_SIZE : FRAME_HEADER_SIZE + 64])
    if head.startswith(b'{"type":"'):
        name = head[9 : max(head.find(b'"', 9), 9)]
        if name and b"\\" not in name:
            return name
    value = _parsed(frame).get("type")
    return value.encode(errors="replace") if isinstance(value, str) else b""


def _parsed(frame: memoryview) -> dict[str, Any]:
    try:
        value = json.loads(bytes(frame[FRAME_HEADER_SIZE:]))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BrokenFrame("a message is no JSON object")
    return value


def number_of(frame: memoryview) -> int:
    """Return the number of a ping or pong in a frame. Raises `BrokenFrame` if it has none."""
    value = _parsed(frame).get("id")
    if not isinstance(value, int):
        raise BrokenFrame("a ping has no number")
    return value


def readdress(frame: memoryview, channel: int) -> None:
    """Write another channel number into the header of a frame."""
    _CHANNEL.pack_into(frame, 4, channel)


class SharingCaller(Protocol):
    """A command's connection to the helper, as the shared connection sees it."""

    @property
    def channels(self) -> dict[int, SharedChannel]:
        """Its channels, by its own numbers."""

    def deliver(self, data: bytes) -> None:
        """Send whole frames to it."""

    def hold(self, held: bool) -> None:
        """Read nothing more from it, or read again."""

    def close(self) -> None:
        """Send what is queued, as long as it is read, and close."""


class SharedChannel:
    """A channel of the connection, and whose it is."""

    __slots__ = ("caller", "caller_closed", "number", "own_number", "service_finished")

    def __init__(self, caller: SharingCaller, own_number: int, number: int) -> None:
        self.caller: SharingCaller | None = caller
        """None after the caller is lost."""
        self.own_number = own_number
        """The number by which the caller knows it."""
        self.number = number
        """The number by which the service knows it."""
        self.caller_closed = False
        self.service_finished = False
