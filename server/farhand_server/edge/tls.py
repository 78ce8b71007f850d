"""The server's side of TLS on a connection.

OpenSSL reads and writes memory, not the socket: if it read the socket itself, it would go on for as long as a client
sends records without data, and no other connection, no timer and no deadline would get a turn. It is given one record
after the other, and at most `TLS_RECEIVE_SIZE` bytes and `RECORDS_PER_TURN` records in one turn. Compared side by side
with an `ssl.SSLSocket`, receiving a GiB takes 0.9 times the CPU time, and sending one 1.1 times.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final, cast

from farhand_protocol import ALPN
from farhand_server.hostkey import HostKey

from .records import RecordCounter

TLS_RECEIVE_SIZE: Final = 64 << 10
"""Most bytes received in one turn. Smaller chunks cost more (16 KiB: 1.5 times the CPU time)."""

TLS_RECORD_SIZE: Final = 16 << 10
"""Most data of one record (RFC 8446, section 5.1). OpenSSL gets and makes one at a time, because the memory that it
reads and writes stays as large as it has ever been."""

RECORDS_PER_TURN: Final = 32
"""Most records given to OpenSSL in one turn. If all are KeyUpdates that ask for another, they take two milliseconds; 32
full records would be more than `TLS_RECEIVE_SIZE`."""

HANDSHAKE_SIZE: Final = 16 << 10
"""Most bytes a client may send for the handshake. A ClientHello has up to 2 KiB, with post-quantum key shares, and
OpenSSL would wait for 128."""

HANDSHAKE_RECORDS: Final = 64
"""Most records of the handshake. Usual are three; some clients divide their ClientHello."""

DATALESS_RECORDS: Final = 32
"""Records without data, in practice KeyUpdates, that a client may send at once, and DATALESS_RATE of them per second
after that. A client changes its keys once in some 100 GiB (RFC 8446, section 5.5), and none that we know does so more
than once a minute."""

DATALESS_RATE: Final = 1.0


class RecordLimitError(OSError):
    """A client has sent more bytes or records than it needs."""

    def __init__(self, reason: str) -> None:
        super().__init__(None, reason)
        self.reason: Final = reason


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


# Shared by all connections, which run in one thread. Bytes received into it are used or copied before the next call.
_received: Final = memoryview(bytearray(TLS_RECEIVE_SIZE))


class TLSStream:
    """A `Stream` that is the server's side of TLS on an accepted, non-blocking TCP socket. It takes ownership of the
    socket.

    Call `handshake` first, whenever the descriptor is readable or `has_more` is true, until it returns true.
    """

    __slots__ = (
        "_dataless", "_dataless_at", "_encrypted", "_ended", "_handshake_records", "_incoming", "_outgoing", "_read",
        "_records", "_socket", "_tls", "_unsent", "_waiting", "received",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = sock
        self.received = 0
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)
        self._records = RecordCounter()
        self._handshake_records = 0
        self._waiting: memoryview | None = None
        """Received bytes that OpenSSL gets in a later turn."""
        self._unsent: list[bytes | memoryview] = []
        """Records that the socket has not taken yet."""
        self._encrypted = 0
        """Bytes of data in `_unsent`, which `write` has not yet reported as written."""
        self._dataless = 0.0
        self._dataless_at = 0.0
        self._ended = False

    def fileno(self) -> int:
        """Implement `Stream.fileno`."""
        return self._socket.fileno()

    def handshake(self) -> bool:
        """Continue the handshake for one turn; return whether it is done. Raises OSError if it fails.

        What the server sends fits any socket's buffer, so that it never has to wait for writing.
        """
        try:
            data = self._receive()
        except EOFError:
            raise ConnectionResetError(None, "the client has closed the connection") from None
        done, used, records = False, 0, 0
        while used < len(data) and records < RECORDS_PER_TURN and not done:
            used, ended = self._give_record(data, used)
            records += ended
            try:
                # Also for half a record: its header may show that this is not TLS.
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                continue
            except OSError:
                self._send_alert()
                raise
        self._leave(data, used)
        self._flush()
        self._handshake_records += records
        if not done and (self.received > HANDSHAKE_SIZE or self._handshake_records > HANDSHAKE_RECORDS):
            raise RecordLimitError("too much data in the handshake")
        return done

    def application_protocol(self) -> str | None:
        """Return the application protocol that ALPN (RFC 7301) selected."""
        return self._tls.selected_alpn_protocol()

    def read_into(self, buffer: memoryview) -> int | None:
        """Implement `Stream.read_into`. The buffer must have room for `TLS_RECEIVE_SIZE` and two records.

        A bare FIN counts as an end of file, because the protocol's last message tells whether the end was in order.
        Raises `RecordLimitError` for too many records without data.
        """
        if self._ended:
            return 0
        try:
            data = self._receive()
        except EOFError:
            self._ended = True
            return 0
        size = used = records = dataless = 0
        try:
            while used < len(data) and records < RECORDS_PER_TURN and not self._ended:
                length = self._records.whole(data, used)
                if length:
                    self._incoming.write(data[used : used + length])
                    self.received += length
                    used, ended = used + length, 1
                else:
                    used, ended = self._give_record(data, used)
                if ended:
                    records += 1
                    try:
                        read = self._read(len(buffer) - size, buffer[size:])
                    except ssl.SSLWantReadError:
                        dataless += 1
                        continue
                    self._ended = read == 0
                    size += read
        except OSError:
            self._send_alert()
            raise
        self._leave(data, used)
        if dataless:
            self._account(dataless)
        return size or (0 if self._ended else None)

    def write(self, data: memoryview) -> int:
        """Implement `Stream.write`."""
        size = len(data)
        if size <= TLS_RECORD_SIZE and not self._unsent and not self._outgoing.pending:
            # The usual case of everything but bulk data: one record, which the socket takes.
            self._encrypted = self._tls.write(data)
            record = self._outgoing.read()
            try:
                sent = self._socket.send(record)
            except BlockingIOError:
                sent = 0
            if sent == len(record):
                self._encrypted = 0
                return size
            self._unsent.append(memoryview(record)[sent:])
            return 0
        size = 0
        while self._flush():
            size += self._encrypted
            self._encrypted = 0
            if size == len(data):
                break
            while self._encrypted < len(data) - size:
                start = size + self._encrypted
                self._encrypted += self._tls.write(data[start : start + TLS_RECORD_SIZE])
                self._unsent.append(self._outgoing.read())
        return size

    def has_more(self) -> bool:
        """Implement `Stream.has_more`."""
        # A close_notify that was read together with data does not make the descriptor readable again.
        return self._ended or self._waiting is not None

    def clear_error(self) -> None:
        """Implement `Stream.clear_error`."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def end(self) -> socket.socket:
        """Send close_notify and FIN, and return the plain socket. The caller must read it until end of file, then close
        it.

        A client that does not read receives the FIN without the close_notify, and after any other failure perhaps
        neither: the connection is over in any case.
        """
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()  # raises, because the client's close_notify is not awaited
        self._send_alert()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        return self._socket

    def close(self) -> None:
        """Close the socket without sending a close_notify."""
        self._socket.close()

    def _receive(self) -> memoryview:
        """Return what the client has sent and OpenSSL has not got. Raises EOFError if nothing more will come."""
        if self._waiting is not None:
            return self._waiting
        try:
            size = self._socket.recv_into(_received)
        except BlockingIOError:
            return _received[:0]
        if size == 0:
            raise EOFError
        return _received[:size]

    def _give_record(self, data: memoryview, used: int) -> tuple[int, int]:
        """Give OpenSSL the rest of a record; return how much of `data` is used then, and 1 if the record has ended."""
        size, ended = self._records.take(data[used:], 1)
        self._incoming.write(data[used : used + size])
        self.received += size
        return used + size, ended

    def _leave(self, data: memoryview, used: int) -> None:
        """Leave what is not used to a later turn."""
        if used == len(data):
            self._waiting = None
        else:
            self._waiting = data[used:] if self._waiting is not None else memoryview(bytes(data[used:]))

    def _account(self, dataless: int) -> None:
        # If a KeyUpdate asks for another, OpenSSL sends that with the next data, one for all that ask.
        now = time.monotonic()
        self._dataless = max(0.0, self._dataless - (now - self._dataless_at) * DATALESS_RATE) + dataless
        self._dataless_at = now
        if self._dataless > DATALESS_RECORDS:
            raise RecordLimitError("too many TLS records without data")

    def _send_alert(self) -> None:
        """Send what OpenSSL tells the client about an error, if the socket takes it."""
        with contextlib.suppress(OSError):
            self._flush()

    def _flush(self) -> bool:
        """Send what OpenSSL has written; return whether the socket has taken everything."""
        if self._outgoing.pending:
            self._unsent.append(self._outgoing.read())
        while self._unsent:
            try:
                sent = self._socket.sendmsg(self._unsent)
            except BlockingIOError:
                return False
            while self._unsent and sent >= len(self._unsent[0]):
                sent -= len(self._unsent.pop(0))
            if sent:
                self._unsent[0] = memoryview(self._unsent[0])[sent:]
        return True
