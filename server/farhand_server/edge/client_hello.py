"""Reads the application protocols that a client offers, from the first bytes of its TLS handshake. Without I/O.

The edge looks at these bytes before OpenSSL does, to find a return ticket. So this is a strict parser of one form, the
one that TLS libraries send: one TLS record with one ClientHello (RFC 8446, sections 4.1.2 and 5.1) with one ALPN
extension (RFC 7301). Anything else offers nothing here. Whether it is TLS is left to OpenSSL. Each byte is looked at
once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MAX_CLIENT_HELLO: Final = 4096
"""Bytes that are looked at. A ClientHello has 300 to 600 bytes, and 1,800 with a post-quantum key share (X25519MLKEM768
has 1,216 bytes)."""

MAX_HELLO_EXTENSIONS: Final = 64
"""Extensions that are looked at. Browsers send 18, OpenSSL 12; 1,000 empty ones fit into `MAX_CLIENT_HELLO`, and would
cost the edge as much as three TLS handshakes."""

MAX_OFFERED_NAMES: Final = 16
"""Names of protocols that are looked at, for the same reason. A client of ours offers two."""

_RECORD_HEADER = 5
_HANDSHAKE = 22
_CLIENT_HELLO = 1
_RANDOM = 32
_ALPN = 16


class _Malformed(Exception):
    """The bytes are not a ClientHello of the form that is read here."""


def expected_size(data: bytes) -> int:
    """Return how many bytes must be read before `offered_protocols` can find what there is, given the first ones.

    At most `MAX_CLIENT_HELLO`. No more than `len(data)` if reading more would change nothing.
    """
    if data and data[0] != _HANDSHAKE:
        return len(data)
    if len(data) < _RECORD_HEADER:
        return _RECORD_HEADER
    return min(_RECORD_HEADER + int.from_bytes(data[3:5], "big"), MAX_CLIENT_HELLO)


def offered_protocols(data: bytes) -> tuple[bytes, ...]:
    """Return the names in the ALPN extension of the ClientHello that `data` begins with, in order; () if it is
    anything else."""
    try:
        return _protocols(data)
    except _Malformed:
        return ()


def _protocols(data: bytes) -> tuple[bytes, ...]:
    record = _Reader(data[:MAX_CLIENT_HELLO])
    if record.number(1) != _HANDSHAKE:
        raise _Malformed
    record.take(2)  # a version that means nothing any more
    message = _Reader(record.vector(2))
    if message.number(1) != _CLIENT_HELLO:
        raise _Malformed
    hello = _Reader(message.vector(3))
    message.end()
    hello.take(2 + _RANDOM)
    hello.vector(1)  # session id
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    extensions = _Reader(hello.vector(2))
    hello.end()
    found: bytes | None = None
    for _ in _at_most(MAX_HELLO_EXTENSIONS, extensions):
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _ALPN:
            if found is not None:
                raise _Malformed
            found = content
    return () if found is None else _names(found)


def _names(extension: bytes) -> tuple[bytes, ...]:
    outer = _Reader(extension)
    names = _Reader(outer.vector(2))
    outer.end()
    found = []
    for _ in _at_most(MAX_OFFERED_NAMES, names):
        name = names.vector(1)
        if not name:
            raise _Malformed
        found.append(name)
    return tuple(found)


def _at_most(limit: int, reader: _Reader) -> Iterator[int]:
    """Count from 0 while there is anything left to read. Raise `_Malformed` instead of reaching `limit`."""
    count = 0
    while reader.left:
        if count == limit:
            raise _Malformed
        yield count
        count += 1


class _Reader:
    """Reads big-endian numbers and vectors, which begin with their size (RFC 8446, section 3.4)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise _Malformed
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def end(self) -> None:
        if self.left:
            raise _Malformed
