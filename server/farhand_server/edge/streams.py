"""The sockets that the relay reads and writes without blocking: what both kinds have in common, and the plain one.

`tls` has the other.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol, runtime_checkable


class Stream(Protocol):
    """One end of a connection. A permanent failure raises OSError (ssl.SSLError is a subclass).

    No call takes more than two milliseconds, whatever the peer sends.
    """

    received: int
    """Bytes received so far, with everything that surrounds the data."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def read_into(self, buffer: memoryview) -> int | None:
        """Read available bytes and return their number: 0 if the peer has ended its stream, None if nothing is
        available yet."""

    def write(self, data: memoryview) -> int:
        """Write as much as possible without blocking, and return the number of bytes written.

        The next call must begin with the unwritten rest."""

    def has_more(self) -> bool:
        """Whether to read again although the descriptor may not become readable."""

    def clear_error(self) -> None:
        """Clear the socket's pending error, so that received data can still be read, followed by an end of file."""


class ClientStream(Stream, Protocol):
    """The end towards a client, which is taken leave of in order."""

    def end(self) -> socket.socket:
        """Say that nothing more comes, send FIN, and return the plain socket. The caller must read it until end of
        file, then close it."""

    def close(self) -> None:
        """Close the socket without a word."""


@runtime_checkable
class UsedStream(ClientStream, Protocol):
    """A stream that tells for how long nobody has done anything at the other end."""

    def idle_for(self) -> float:
        """Return that in seconds."""

    def close_idle(self) -> None:
        """Say at the end that it was because nobody did anything."""


class PlainStream:
    """A `Stream` on a connected, non-blocking stream socket, and a `ClientStream` for clients without TLS."""

    __slots__ = ("_socket", "received")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.received = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def read_into(self, buffer: memoryview) -> int | None:
        try:
            size = self._socket.recv_into(buffer)
        except BlockingIOError:
            return None
        self.received += size
        return size

    def write(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def has_more(self) -> bool:
        return False

    def clear_error(self) -> None:
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def end(self) -> socket.socket:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        return self._socket

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
