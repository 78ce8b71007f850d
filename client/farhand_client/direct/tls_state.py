"""TLS in memory: bytes of the socket in, bytes of the connection out, and back."""

from __future__ import annotations

import ssl
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


class TLSState:
    """One TLS connection: `tls`, with what has arrived for it and what it wants to send."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: Final = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host.encode())

    def shake_hands(self, received: bytes) -> tuple[bool, bytes]:
        """Go on with the handshake; return whether it is complete, and what to send. Raises SSLError."""
        if received:
            self._incoming.write(received)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        return True, self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """Return what to send for `data`."""
        self.tls.write(data)
        return self._outgoing.read()

    def decrypt(self, received: memoryview, into: memoryview) -> tuple[int, bool]:
        """Put what `received` decrypts to at the beginning of `into`, which has room for all of it.

        Empty bytes are the end of the connection. Returns the number of bytes, and False at the end. Raises SSLError.
        """
        tls, incoming = self.tls, self._incoming
        if received:
            incoming.write(received)
        else:
            incoming.write_eof()
        size = 0
        try:
            while incoming.pending or tls.pending() or not received:
                count: Any = tls.read(len(into) - size, into[size:])
                if not count:
                    return size, False
                size += count
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return size, False
        return size, True

    def answer(self) -> bytes:
        """Return what TLS itself wants to send, such as the answer to an update of keys."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def say_goodbye(self) -> bytes:
        """Return what to send before the connection is closed."""
        with suppress(ssl.SSLError):  # the peer has not answered, and nobody waits for it
            self.tls.unwrap()
        return self._outgoing.read()
