"""The frames of a WebSocket (RFC 6455, section 5.2), from the server's side. Without I/O.

The payload goes on as it comes, since the bytes of the protocol do not care where messages begin: so no frame is ever
held until it is complete, and none has to be refused for its size.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from websockets.utils import apply_mask

FRAMES_AT_ONCE: Final = 256
"""Frames that one call of `take` begins: a millisecond's work. A page sends a few in one turn."""

MAX_REPLIES: Final = 4096
"""Bytes of pongs that wait to be sent. Browsers send no pings, so a client that sends more is none."""

_CONTROL_SIZE: Final = 125
"""Most bytes of a control frame (section 5.5)."""

_BY_ITSELF: Final = (b'{"type":"ping"', b'{"type":"pong"', b'{"type":"credit"')
_FRAME_HEADER: Final = 8
"""How messages begin, after the header of the protocol's frame, that a page sends without anybody at it."""


class Opcode(IntEnum):
    """The kinds of frames (section 11.8)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class FramingError(OSError):
    """The client has broken the rules of WebSockets. The text is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(None, reason)
        self.reason: Final = reason


class WebSocketDecoder:
    """Turns what arrives into the payload of data frames.

    Call `feed` with bytes, then `take` until it returns 0 and `pending` is false. `replies` are frames to be sent.
    """

    def __init__(self) -> None:
        self.closed = False
        """Whether the client has closed the WebSocket: nothing follows."""
        self.replies = bytearray()
        self.used = True
        """Whether somebody has typed or clicked since this was last set to false."""
        self._waiting = memoryview(b"")
        self._opcode = Opcode.CONTINUATION
        self._left = 0
        self._mask = b""
        self._fragmented = False
        self._control = b""

    @property
    def pending(self) -> bool:
        """Whether bytes wait that `take` can use at once."""
        return bool(self._waiting) and not self.closed and (self._left > 0 or self._header_size() is not None)

    def feed(self, data: memoryview) -> None:
        """Add bytes; they are copied."""
        self._waiting = memoryview(bytes(self._waiting) + bytes(data))

    def take(self, out: memoryview) -> int:
        """Decode into `out` and return how many bytes that are. Raises `FramingError`."""
        size = frames = 0
        while not self.closed:
            if self._left == 0:
                if frames == FRAMES_AT_ONCE or not self._begin_frame():
                    break
                frames += 1
            size += self._take_payload(out[size:])
            if self._left:
                break
        return size

    def _header_size(self) -> int | None:
        """Return the size of the next frame's header, if all of it is there."""
        data = self._waiting
        if len(data) < 2:
            return None
        size = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0) + (4 if data[1] & 0x80 else 0)
        return size if len(data) >= size else None

    def _begin_frame(self) -> bool:
        size = self._header_size()
        if size is None:
            return False
        first, second = self._waiting[0], self._waiting[1]
        if first & 0x70:
            raise FramingError("a WebSocket frame with reserved bits")
        if not second & 0x80:
            raise FramingError("a WebSocket frame without a mask")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise FramingError(f"a WebSocket frame of kind {first & 0x0F}") from None
        final, length = bool(first & 0x80), second & 0x7F
        if length == 126:
            (length,) = struct.unpack_from("!H", self._waiting, 2)
        elif length == 127:
            (length,) = struct.unpack_from("!Q", self._waiting, 2)
        if opcode >= Opcode.CLOSE and (not final or length > _CONTROL_SIZE):
            raise FramingError("a WebSocket control frame that is too long, or in parts")
        if opcode is Opcode.TEXT:
            raise FramingError("text instead of frames")
        if opcode < Opcode.CLOSE:
            if (opcode is Opcode.CONTINUATION) != self._fragmented:
                raise FramingError("parts of WebSocket messages out of order")
            self._fragmented = not final
        self._opcode, self._left = opcode, length
        self._mask = bytes(self._waiting[size - 4 : size])
        self._waiting = self._waiting[size:]
        self._control = b""
        if opcode is Opcode.BINARY:
            beginning = apply_mask(bytes(self._waiting[: min(length, 32)]), self._mask)
            self.used = self.used or not beginning.startswith(_BY_ITSELF, _FRAME_HEADER)
        elif opcode is Opcode.CONTINUATION:
            self.used = True
        if length == 0:
            self._end_frame()
        return True

    def _take_payload(self, out: memoryview) -> int:
        control = self._opcode >= Opcode.CLOSE
        size = min(self._left, len(self._waiting), _CONTROL_SIZE if control else len(out))
        if size == 0:
            return 0
        plain = apply_mask(bytes(self._waiting[:size]), self._mask)
        turned = size % 4
        self._mask = self._mask[turned:] + self._mask[:turned]
        self._waiting = self._waiting[size:]
        self._left -= size
        if control:
            self._control += plain
        else:
            out[:size] = plain
        if self._left == 0:
            self._end_frame()
        return 0 if control else size

    def _end_frame(self) -> None:
        if self._opcode is Opcode.PING:
            if len(self.replies) > MAX_REPLIES:
                raise FramingError("more WebSocket pings than are answered")
            self.replies += frame_header(Opcode.PONG, len(self._control)) + self._control
        elif self._opcode is Opcode.CLOSE:
            self.closed = True


def frame_header(opcode: Opcode, size: int) -> bytes:
    """Return the header of an unmasked, unfragmented frame."""
    first = 0x80 | opcode
    if size < 126:
        return struct.pack("!BB", first, size)
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size)
    return struct.pack("!BBQ", first, 127, size)


def close_frame(code: int, reason: str) -> bytes:
    """Return a frame that closes the WebSocket; the reason has at most 123 bytes (section 5.5.1)."""
    content = struct.pack("!H", code) + reason.encode()
    return frame_header(Opcode.CLOSE, len(content)) + content
