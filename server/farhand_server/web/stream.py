"""A WebSocket as one end of a relay: what the browser sends comes out of its frames, what the core sends goes into
them."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Final

from farhand_server.edge.streams import ClientStream

from .framing import FramingError, Opcode, WebSocketDecoder, close_frame, frame_header

MAX_FRAME: Final = 64 << 10
"""Most bytes of one frame to a browser, half of what a relay reads at once."""

_CLOSE_SERVICE: Final = 4502
_CLOSE_IDLE: Final = 4401
"""Why the WebSocket is closed: the core has ended the connection; nobody was at the page for too long. `farhand web`
uses the same codes (RFC 6455, section 7.4.2: 4000 to 4999 are for such)."""

_received: Final = memoryview(bytearray(128 << 10))
"""Shared by all connections of the process, as the relay's buffer is: what is read into it is copied at once."""


class WebSocketStream:
    """A `ClientStream` inside another one, which it takes over. `arrived` is what was read behind the request."""

    def __init__(self, inner: ClientStream, arrived: bytes) -> None:
        self._inner = inner
        self.received = inner.received
        self._frames = WebSocketDecoder()
        self._frames.feed(memoryview(arrived))
        self._unsent = memoryview(b"")
        self._framed = 0
        """Bytes of data in `_unsent`, which `write` has not yet reported as written."""
        self._ended = False
        self._last_used = time.monotonic()
        self._why = (_CLOSE_SERVICE, "the connection to the service has ended")

    def idle_for(self) -> float:
        """Implement `UsedStream.idle_for`."""
        return time.monotonic() - self._last_used

    def fileno(self) -> int:
        """Implement `Stream.fileno`."""
        return self._inner.fileno()

    def read_into(self, buffer: memoryview) -> int | None:
        """Implement `Stream.read_into`."""
        if not self._frames.pending and not self._ended:
            size = self._inner.read_into(_received)
            self.received = self._inner.received
            if size:
                self._frames.feed(_received[:size])
            self._ended = size == 0
        taken = self._frames.take(buffer)
        if self._frames.used:
            self._frames.used, self._last_used = False, time.monotonic()
        if self._frames.replies and not self._unsent:
            self._unsent = memoryview(bytes(self._frames.replies))
            self._frames.replies.clear()
            self._flush()
        if taken:
            return taken
        return 0 if self._frames.closed or (self._ended and not self._frames.pending) else None

    def write(self, data: memoryview) -> int:
        """Implement `Stream.write`."""
        if not self._flush():
            return 0
        size, self._framed = self._framed, 0
        while size < len(data):
            part = data[size : size + MAX_FRAME]
            replies = bytes(self._frames.replies)
            self._frames.replies.clear()
            self._unsent = memoryview(replies + frame_header(Opcode.BINARY, len(part)) + part)
            if not self._flush():
                self._framed = len(part)
                break
            size += len(part)
        return size

    def has_more(self) -> bool:
        """Implement `Stream.has_more`."""
        return self._frames.pending or self._frames.closed or self._inner.has_more()

    def clear_error(self) -> None:
        """Implement `Stream.clear_error`."""
        self._inner.clear_error()

    def close_idle(self) -> None:
        """Tell the browser that nobody was at the page for too long, when it is closed next."""
        self._why = (_CLOSE_IDLE, "nobody was at the page for too long")

    def end(self) -> socket.socket:
        """Close the WebSocket, then end the connection as `ClientStream.end` does."""
        with suppress(OSError, FramingError):
            if self._flush():
                self._inner.write(memoryview(close_frame(*self._why)))
        return self._inner.end()

    def close(self) -> None:
        """Implement `ClientStream.close`."""
        self._inner.close()

    def _flush(self) -> bool:
        """Write what is unsent; return whether the inner stream has taken everything."""
        while self._unsent:
            written = self._inner.write(self._unsent)
            if written == 0:
                return False
            self._unsent = self._unsent[written:]
        return True
