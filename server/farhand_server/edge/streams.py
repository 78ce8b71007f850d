"""The sockets that the relay reads and writes without blocking, in plain text or through TLS.

TLS uses an `ssl.SSLSocket` on the descriptor itself instead of uvloop's TLS transport: OpenSSL encrypts bytes from the
buffer they were read into and sends its own record, without copies through memory BIOs. Compared side by side, bulk
data needs 50 to 90 % of the CPU time, and an echo takes no longer.
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
"""Largest content of a TLS record in bytes (RFC 8446, section 5.1). One read never returns more."""


def server_context(key: HostKey) -> ssl.SSLContext:
    """Return the context for the edge's connections: TLS 1.3, our application protocol, no resumption.

    It uses neither tickets nor a session cache, so that the service proves its host key on each connection, and forward
    secrecy depends on no ticket key. After the handshake, the caller must check that the client has chosen `ALPN`:
    OpenSSL continues without a protocol if the two sides have none in common.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Without the option, a ticket issued elsewhere with the same key would still be accepted.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    # Python loads keys only from files. This file has no name, and disappears when its descriptor is closed.
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
    """One end of a connection. A permanent failure raises OSError (ssl.SSLError is a subclass)."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def read_into(self, buffer: memoryview) -> int | None:
        """Read available bytes and return their number: 0 if the peer has ended its stream, None if nothing is
        available yet."""

    def write(self, data: memoryview) -> int:
        """Write as much as possible without blocking, and return the number of bytes written.

        The next call must begin with the unwritten rest."""

    def has_more(self) -> bool:
        """Whether a read would return at once even though the descriptor may not become readable."""

    def clear_error(self) -> None:
        """Clear the socket's pending error, so that received data can still be read, followed by an end of file."""


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
    """A `Stream` that is the server's side of TLS on an accepted, non-blocking TCP socket. It takes ownership of the
    socket.

    Call `handshake` first; it raises OSError if the handshake fails. The constructor raises OSError if the client has
    already closed the connection.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.getpeername()  # fails if the client has closed; wrap_socket would fail, too, but leak its socket
        self._socket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.fileno = self._socket.fileno
        self._ended = False

    def handshake(self) -> bool | None:
        """Continue the handshake; return True once it is done, False to wait for reading, None to wait for writing."""
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            return None
        return True

    def application_protocol(self) -> str | None:
        """Return the application protocol that ALPN (RFC 7301) selected."""
        return self._socket.selected_alpn_protocol()

    def read_into(self, buffer: memoryview) -> int | None:
        """Implement `Stream.read_into`. The buffer's size must be a multiple of `TLS_RECORD_SIZE`.

        A bare FIN counts as an end of file, because the protocol's last message tells whether the end was in order. If
        a client requests new keys but does not read, SSLWantWriteError is raised, which ends the connection.
        """
        size = 0
        try:
            while size < len(buffer):
                read = self._socket.recv_into(buffer[size:])
                self._ended = read == 0
                size += read
                # A short record is usually the last one; another read would only raise an exception, which is slow.
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
        # behind, because the buffer holds whole records.
        return self._ended

    def clear_error(self) -> None:
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def end(self) -> socket.socket:
        """Send close_notify and FIN, and return the plain socket. The caller must read it until end of file, then close
        it.

        A client that does not read receives the FIN without the close_notify, and after any other failure perhaps
        neither: the connection is over in any case.
        """
        with contextlib.suppress(OSError, ValueError):
            self._socket.unwrap()
        plain = socket.socket(fileno=self._socket.detach())
        plain.setblocking(False)
        with contextlib.suppress(OSError):
            plain.shutdown(socket.SHUT_WR)
        return plain

    def close(self) -> None:
        """Close the socket without sending a close_notify."""
        self._socket.close()
