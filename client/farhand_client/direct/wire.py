"""The bytes of a connection: frames out of a socket and into it, without waiting; the caller polls.

What arrives is decrypted into one buffer, and payloads are handed out as views of it: output that can be written at
once is never copied.
"""

from __future__ import annotations

from contextlib import suppress

from farhand_protocol.errors import ErrorCode, RemoteProtocolError
from farhand_protocol.frames import FRAME_HEADER, Kind, encode_frame, encode_header
from farhand_protocol.limits import CLIENT_LIMITS, FRAME_HEADER_SIZE, KiB
from farhand_protocol.plain.codec import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Any, Final

    from .tls_state import TLSState

WIRE_READ_SIZE: Final = 256 * KiB
"""Bytes read at once: four full data frames, as in `farhand_protocol.transport`."""

WIRE_BUFFER_SIZE: Final = 2 * WIRE_READ_SIZE
"""Bytes of the buffer for what has arrived: one read, and the unfinished frame before it (72 KiB at most)."""


class Wire:
    """A connection over `sock`, which is made non-blocking; with `tls`, through that.

    `receive` and `flush` raise OSError when the transport fails.
    """

    def __init__(self, sock: socket.socket, tls: TLSState | None = None) -> None:
        sock.setblocking(False)
        self.sock: Final = sock
        self.fd: Final = sock.fileno()
        self.login_done = False
        """Whether data frames and larger messages may arrive."""
        self._tls = tls
        self._buffer = bytearray(WIRE_BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._encrypted = memoryview(bytearray(WIRE_READ_SIZE)) if tls is not None else self._view
        self._unsent = b""

    # Sending

    @property
    def unsent(self) -> int:
        """Bytes that wait until the kernel accepts them; call `flush` when the socket is writable."""
        return len(self._unsent)

    def send(self, channel: int, fields: dict[str, Any]) -> bytes:
        """Send a message, and return its frame."""
        return self.send_payload(channel, encode(fields))

    def send_payload(self, channel: int, payload: bytes) -> bytes:
        """Send a message that is encoded already, and return its frame."""
        frame = encode_frame(Kind.MESSAGE, channel, payload)
        self._queue(frame)
        self.flush()
        return frame

    def send_data(self, channel: int, data: bytes) -> None:
        """Send bytes of stdin."""
        self._queue(encode_header(Kind.STDIN, channel, len(data)) + data)
        self.flush()

    def flush(self) -> None:
        """Send what the kernel accepts now."""
        while self._unsent:
            try:
                count = self.sock.send(self._unsent)
            except BlockingIOError:
                return
            self._unsent = self._unsent[count:]

    def _queue(self, data: bytes) -> None:
        if self._tls is not None:
            data = self._tls.encrypt(data)
        self._unsent = self._unsent + data if self._unsent else data

    # Receiving

    def receive(self) -> bool:
        """Read what has arrived, for `frames` to yield; return False at the end of the connection."""
        if self._start:
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        if self._tls is None:
            return self._received(self._view[self._end : self._end + WIRE_READ_SIZE])
        return self._decrypt(self._tls)

    def _received(self, into: memoryview) -> bool:
        try:
            count = self.sock.recv_into(into)
        except BlockingIOError:
            return True
        self._end += count
        return bool(count)

    def _decrypt(self, tls: TLSState) -> bool:
        try:
            count = self.sock.recv_into(self._encrypted)
        except BlockingIOError:
            return True
        size, connected = tls.decrypt(self._encrypted[:count], self._view[self._end :])
        self._end += size
        if answer := tls.answer():
            self._unsent += answer
            self.flush()
        return connected

    def frames(self) -> Iterator[tuple[int, int, memoryview]]:
        """Yield `(kind, channel, payload)` for each whole frame that has arrived.

        A payload is only valid until the next call of `receive`. Raises RemoteProtocolError.
        """
        while self._end - self._start >= FRAME_HEADER_SIZE:
            word, channel = FRAME_HEADER.unpack_from(self._buffer, self._start)
            kind, length = word & 0xFF, word >> 8
            begin = self._start + FRAME_HEADER_SIZE
            if begin + length > self._end:
                self._check(kind, length)
                return
            self._check(kind, length)
            self._start = begin + length
            yield kind, channel, self._view[begin : self._start]

    def _check(self, kind: int, length: int) -> None:
        if kind == Kind.MESSAGE:
            limit = CLIENT_LIMITS.message if self.login_done else CLIENT_LIMITS.login_message
        elif not Kind.STDIN <= kind <= Kind.STDERR:
            raise RemoteProtocolError(ErrorCode.UNKNOWN_KIND, f"unknown frame kind {kind}")
        elif not self.login_done:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, "no data are legal before the login")
        else:
            limit = CLIENT_LIMITS.data
        if length > limit:
            raise RemoteProtocolError(ErrorCode.FRAME_TOO_LARGE, f"a frame of {length} bytes; the limit is {limit}")

    def close(self) -> None:
        """Close the connection, after an attempt to say so."""
        with suppress(OSError):  # the peer is gone
            if self._tls is not None:
                self._unsent += self._tls.say_goodbye()
            self.flush()
        self.sock.close()
