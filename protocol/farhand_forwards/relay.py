"""Joins a flow to a connected socket.

Bytes go from one to the other without being stored here, except for what the socket does not take at once; the flow's
window bounds that. A socket is read from only when it is the flow's turn to send, so a carrier or a peer that does not
keep up stops whoever writes to the socket. Half-close passes both ways, and so does a reset (RST).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import deque
from typing import Final

from farhand_protocol.limits import KiB

from .ends import FlowSide
from .unread import UnreadBytes, store_unread
from .wire import MAX_FORWARD_DATA

FIRST_READ: Final = 16 * KiB
"""Bytes read at once from a socket that has not sent much yet. More where a read was filled, less where it was not:
memory for a read is reserved before it is known how much there is."""

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class SocketEnd:
    """The end of a stream flow that is a socket, TCP or Unix. Owns and closes the socket."""

    def __init__(self, flow: FlowSide, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._flow = flow
        self._sock = sock
        self._fd = sock.fileno()
        self.done: Final[asyncio.Future[None]] = self._loop.create_future()
        """Done once the socket is closed: with `ConnectionResetError` if it was reset, from either side."""
        self._backlog: UnreadBytes = deque()
        self._read_size = FIRST_READ
        self._reading = self._writing = False
        """What the loop watches the socket for."""
        self._queued = False
        """Whether this end waits for its turn."""
        self._read_open = self._write_open = True
        self._eof = self._broken = False
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # uvloop stops watching a descriptor at its first error, after one last call.
        self._fragile = type(self._loop).__module__.startswith("uvloop")

    def start(self, flow: FlowSide) -> None:
        """Begin to read: at once, because what a program has sent by now can travel with the request for the flow."""
        if not self.done.done():
            self._queued = True
            flow.want_turn()

    # From the socket to the flow

    def _watch(self) -> None:
        if not self._reading and self._read_open:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)

    def _unwatch(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        if self._fragile and self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._fail()
        elif self._queued:
            self._unwatch()  # until its turn has come
        else:
            self._queued = True
            self._flow.want_turn()

    def turn(self, limit: int) -> None:
        self._queued = False
        if not self._read_open:
            return
        size = min(limit, self._read_size)
        try:
            data = self._sock.recv(size)
        except (BlockingIOError, InterruptedError):
            self._watch()
            return
        except OSError:
            self._fail()
            return
        if data:
            if len(data) == self._read_size:
                self._read_size = min(4 * size, MAX_FORWARD_DATA)
            elif len(data) * 8 < size:
                self._read_size = max(size // 2, FIRST_READ)
            self._flow.send(data)
            self._watch()
            return
        self._unwatch()
        self._read_open = False
        self._flow.send_eof()
        self._close_if_ended()

    # From the flow to the socket

    def received(self, data: bytes | memoryview) -> None:
        size = len(data)
        if self._broken:
            if self._read_open:
                self._flow.consumed(size)
            else:
                self._fail()  # nobody will read it, and its sender does not know yet
            return
        if not self._backlog:
            sent = self._send(data)
            if sent == size or self._broken:
                self._flow.consumed(size)
                return
            if sent:
                self._flow.consumed(sent)
            data = memoryview(data)[sent:]
        store_unread(self._backlog, data)
        if not self._writing and not self.done.done():
            self._writing = True
            self._loop.add_writer(self._fd, self._writable)

    def eof_received(self) -> None:
        self._eof = True
        if not self._backlog:
            self._shut_down()

    def lost(self, error: Exception) -> None:
        self._close(error)

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._break()
            return 0

    def _writable(self) -> None:
        while self._backlog:
            chunk = self._backlog[0]
            sent = self._send(chunk)
            if self._broken:
                return
            if sent < len(chunk):
                if sent:
                    self._backlog[0] = chunk[sent:]
                    self._flow.consumed(sent)
                return
            self._backlog.popleft()
            self._flow.consumed(sent)
        self._stop_writing()
        if self._eof:
            self._shut_down()

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _break(self) -> None:
        """The socket takes no more, but may still have something to be read: an answer and then the end."""
        self._broken = True
        self._stop_writing()
        left = sum(map(len, self._backlog))
        self._backlog.clear()
        if left:
            self._flow.consumed(left)
        self._write_open = False
        if self._eof or not self._read_open:
            self._fail()

    def _shut_down(self) -> None:
        if self._write_open:
            self._write_open = False
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno != errno.ENOTCONN:
                    self._fail()
                    return
        self._close_if_ended()

    # The end

    def _close_if_ended(self) -> None:
        if not self._read_open and self._eof and not self._write_open:
            self._close(None)

    def _fail(self) -> None:
        self._flow.reset()
        self._close(ConnectionResetError(errno.ECONNRESET, "the connection was reset"))

    def close(self) -> None:
        """Reset the socket, unless it is closed already."""
        self._close(ConnectionResetError(errno.ECONNRESET, "the connection was given up"))

    def _close(self, error: Exception | None) -> None:
        if self.done.done():
            return
        self._unwatch()
        self._stop_writing()
        self._backlog.clear()
        self._read_open = self._write_open = False
        if error is None:
            self._sock.close()
            self.done.set_result(None)
        else:
            reset_socket(self._sock)
            self.done.set_exception(error)
            self.done.exception()  # it is reported where somebody waits for it


def reset_socket(sock: socket.socket) -> None:
    """Close a socket so that its peer gets a reset (RST), where there is such a thing (SO_LINGER, socket(7))."""
    try:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    except OSError:
        pass  # it is closed already
    sock.close()
