"""Sockets as the relay uses them: non-blocking reads and writes, in plain text or through TLS.

TLS is an `ssl.SSLSocket` on the descriptor itself, without uvloop's TLS transport: bytes are encrypted from the buffer
they were read into and sent from OpenSSL's own record, without copies through memory BIOs. Measured side by side, bulk
data takes between a half and nine tenths of the CPU time, and an echo does not take longer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Protocol

from farhand_protocol import ALPN
from farhand_server.hostkey import HostKey

TLS_RECORD_SIZE = 16384
"""Bytes of the longest TLS record's content (RFC 8446, section 5.1): one read never returns more."""


def server_context(key: HostKey) -> ssl.SSLContext:
    """Return the context for the edge's connections: TLS 1.3, our application protocol, no resumption.

    Neither tickets nor a session cache are used, so that each connection proves the host key and its forward secrecy
    depends on no ticket key. The caller has to check after the handshake that the client has chosen `ALPN`: OpenSSL
    continues without a protocol if the two sides have none in common.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Without the option, a ticket issued elsewhere with the same key would still be accepted.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    # Python loads keys only from files: this one has no name, and disappears with its descriptor.
    descriptor = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        chain = key.chain_pem()
        if os.write(descriptor, chain) != len(chain):
            raise OSError("the certificate could not be written to memory")
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


class Stream(Protocol):
    """One end of a connection. A permanent failure raises OSError (of which ssl.SSLError is a subclass)."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def read_into(self, buffer: memoryview) -> int | None:
        """Read what is available; return its length, 0 at the peer's end, None if nothing is available yet."""

    def write(self, data: memoryview) -> int:
        """Write what can be written now; return its length. The next call must begin with the unwritten rest."""

    def has_more(self) -> bool:
        """Whether a read would return at once although the descriptor may not become readable."""

    def clear_error(self) -> None:
        """Clear the socket's pending error: received data can still be read, and then an end."""


class PlainStream:
    """A `Stream` on a connected, non-blocking stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.fileno = sock.fileno

    def read_into(self, buffer: memoryview) -> int | None:
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def has_more(self) -> bool:
        return False

    def clear_error(self) -> None:
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TLSStream:
    """A `Stream`: the server's side of TLS on an accepted, non-blocking TCP socket, which it takes over.

    Call `handshake` first, which raises its failures. Raises OSError if the client has already closed the connection.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.getpeername()  # fails if the client has closed; wrap_socket would fail too, but leak its socket
        self._socket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.fileno = self._socket.fileno
        self._ended = False

    def handshake(self) -> bool | None:
        """Continue the handshake; return True once done, False to wait for reading, None to wait for writing."""
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            return None
        return True

    def application_protocol(self) -> str | None:
        """Return the protocol that ALPN (RFC 7301) has selected."""
        return self._socket.selected_alpn_protocol()

    def read_into(self, buffer: memoryview) -> int | None:
        """Implement `Stream.read_into`. The size of the buffer must be a multiple of `TLS_RECORD_SIZE`.

        A bare FIN counts as an end: the protocol's last message tells whether it was in order. If a client asks for new
        keys while it does not read, SSLWantWriteError is raised, which ends the connection.
        """
        size = 0
        try:
            while size < len(buffer):
                read = self._socket.recv_into(buffer[size:])
                self._ended = read == 0
                size += read
                # A short record is usually the last one; another read would only raise, which is slow.
                if read < TLS_RECORD_SIZE:
                    break
        except ssl.SSLWantReadError:
            return size or None
        return size

    def write(self, data: memoryview) -> int:
        size = 0
        try:
            while size < len(data):
                size += self._socket.send(data[size:])
        except ssl.SSLWantWriteError:
            pass
        return size

    def has_more(self) -> bool:
        # A close_notify that was read together with data does not make the descriptor readable again. No data is left
        # behind: a buffer of whole records never ends inside one.
        return self._ended

    def clear_error(self) -> None:
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def end(self) -> socket.socket:
        """Send close_notify and FIN; return the plain socket, to be read until the client's end and then closed.

        A client that does not read sees the FIN without the close_notify, and after any other failure it sees less: the
        connection is over in any case.
        """
        with contextlib.suppress(OSError, ValueError):
            self._socket.unwrap()
        plain = socket.socket(fileno=self._socket.detach())
        plain.setblocking(False)
        with contextlib.suppress(OSError):
            plain.shutdown(socket.SHUT_WR)
        return plain

    def close(self) -> None:
        """Close the socket; the client receives no close_notify."""
        self._socket.close()
