"""Sockets as the relay sees them: non-blocking reads and writes, in the clear or through TLS.

TLS is an `ssl.SSLSocket` on the descriptor itself, without uvloop's TLS transport: bytes are encrypted from the
buffer they were read into and sent from OpenSSL's own record, with no copies by way of memory BIOs. Measured
side by side, bulk takes half to nine tenths of the CPU time, and an echo no longer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import Final, Protocol

from farhand_server.hostkey import HostKey

TLS_RECORD_SIZE = 16384
"""Bytes of the longest TLS record's content (RFC 8446, section 5.1): more than one read never returns."""


class Stream(Protocol):
    """One end of a connection. Methods that fail for good raise OSError (of which ssl.SSLError is one)."""

    def fileno(self) -> int:
        """The descriptor to watch."""

    def read_into(self, buffer: memoryview) -> int | None:
        """Read what is there; return its length, 0 at the peer's end, None where there is nothing yet."""

    def write(self, data: memoryview) -> int:
        """Write what can be taken now; return its length. What is left must come again, first and unchanged."""

    def has_more(self) -> bool:
        """Whether a read would return at once although the descriptor need not become readable."""

    def clear_error(self) -> None:
        """Take the socket's pending error off it: what was received can still be read, and then an end."""


class PlainStream:
    """A connected, non-blocking stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.fileno = sock.fileno

    def read_into(self, buffer: memoryview) -> int | None:
        """See `Stream`."""
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: memoryview) -> int:
        """See `Stream`."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def has_more(self) -> bool:
        """See `Stream`."""
        return False

    def clear_error(self) -> None:
        """See `Stream`."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TLSStream:
    """The server's side of TLS on an accepted, non-blocking TCP socket, which it takes over.

    A failure of the handshake is raised by `handshake`; raises OSError where the client has gone already.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.getpeername()  # fails for one that is gone, as wrap_socket would, which then leaks its socket
        self._socket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self.fileno = self._socket.fileno
        self._ended = False

    def handshake(self) -> bool | None:
        """Go on with the handshake; return True once done, else whether to wait to read (False) or write (None)."""
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            return None
        return True

    def application_protocol(self) -> str | None:
        """What ALPN (RFC 7301) has settled on."""
        return self._socket.selected_alpn_protocol()

    def read_into(self, buffer: memoryview) -> int | None:
        """See `Stream`. The buffer must hold a whole number of `TLS_RECORD_SIZE`s.

        A bare FIN is an end like any: the protocol's last message tells whether it came in order. A client that
        asks for new keys while it takes no bytes raises SSLWantWriteError, which ends it.
        """
        taken = 0
        try:
            while taken < len(buffer):
                size = self._socket.recv_into(buffer[taken:])
                self._ended = size == 0
                taken += size
                # A short record is the last one as a rule; another read would only raise, which is slow.
                if size < TLS_RECORD_SIZE:
                    break
        except ssl.SSLWantReadError:
            return taken or None
        return taken

    def write(self, data: memoryview) -> int:
        """See `Stream`."""
        taken = 0
        try:
            while taken < len(data):
                taken += self._socket.send(data[taken:])
        except ssl.SSLWantWriteError:
            pass
        return taken

    def has_more(self) -> bool:
        """See `Stream`."""
        # A close_notify read behind data is not readable on the descriptor any more. Of data nothing stays behind:
        # a buffer of whole records never ends within one.
        return self._ended

    def clear_error(self) -> None:
        """See `Stream`."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def end(self) -> socket.socket:
        """Send close_notify and FIN; return the bare socket, to be read until the client's end and closed.

        Where the client takes no bytes it sees the FIN without the close_notify, and whatever else fails it sees
        less: the connection is over in any case.
        """
        with contextlib.suppress(OSError, ValueError):
            self._socket.unwrap()
        bare = socket.socket(fileno=self._socket.detach())
        bare.setblocking(False)
        with contextlib.suppress(OSError):
            bare.shutdown(socket.SHUT_WR)
        return bare

    def close(self) -> None:
        """Close the socket; the client sees no close_notify."""
        self._socket.close()


ALPN: Final = "farhand/1"


def server_context(key: HostKey) -> ssl.SSLContext:
    """Return the context for the edge's connections.

    There is no resumption: neither tickets nor a session cache, so that each connection proves the host key anew
    and its forward secrecy hangs on no ticket key. That a client has chosen `ALPN` is for the caller to check
    after the handshake: OpenSSL goes on without one where the two have none in common.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Without the option, a ticket made elsewhere with the same key would still be taken.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    # Python loads keys from files only: this one has no name, and is gone with its descriptor.
    descriptor = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        chain = key.chain_pem()
        if os.write(descriptor, chain) != len(chain):
            raise OSError("the certificate could not be written to memory")
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
