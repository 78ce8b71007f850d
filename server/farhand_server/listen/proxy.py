"""The PROXY protocol, version 2: how an edge tells the core whose bytes follow.

Pure: bytes in, a header out. Numbers and layout are those of haproxy's proxy-protocol.txt, section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

Endpoint = tuple[IPv4Address | IPv6Address, int]
"""An address and a TCP port, 0 to 65535."""

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_HEADER: Final = 512
"""Bytes of the longest header taken: 52 for the fixed part with IPv6 addresses, 19 for our TLV, and room for
TLVs of a proxy in front of the edge. The length is refused from the first 16 bytes."""
UNIQUE_ID_SIZE: Final = 16
"""Bytes of a unique id. The format allows up to 128; ours are random, and 16 never meet twice."""

_FIXED: Final = Struct("!12sBBH")
_TLV: Final = Struct("!BH")
_PORTS: Final = Struct("!HH")
_LOCAL, _PROXY = 0x20, 0x21  # version 2 in the upper half
_UNSPEC, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_UNIQUE_ID = 0x05  # PP2_TYPE_UNIQUE_ID


class ProxyError(ValueError):
    """The bytes are no PROXY header that we take; the message says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says. `source` and `destination` are both there or both None."""

    source: Endpoint | None = None
    """The client; None with the command LOCAL, and where the sender did not know it (UNSPEC)."""
    destination: Endpoint | None = None
    """Where the client connected to."""
    unique_id: bytes | None = None
    """16 bytes that name this connection in verdicts."""
    local: bool = False
    """The command LOCAL: the sender speaks for itself, not for a client."""


def encode(header: ProxyHeader) -> bytes:
    """Return the bytes of a header. Raises ValueError where the addresses are not of one family, or one is missing."""
    family, addresses = _UNSPEC, b""
    if header.source is not None and header.destination is not None:
        (source, source_port), (destination, destination_port) = header.source, header.destination
        if source.version != destination.version:
            raise ValueError("source and destination must be of one address family")
        family = _TCP4 if source.version == 4 else _TCP6
        addresses = source.packed + destination.packed + _PORTS.pack(source_port, destination_port)
    elif header.source is not None or header.destination is not None:
        raise ValueError("source and destination go together")
    if header.unique_id is not None:
        if len(header.unique_id) != UNIQUE_ID_SIZE:
            raise ValueError(f"a unique id has {UNIQUE_ID_SIZE} bytes")
        addresses += _TLV.pack(_UNIQUE_ID, UNIQUE_ID_SIZE) + header.unique_id
    return _FIXED.pack(SIGNATURE, _LOCAL if header.local else _PROXY, family, len(addresses)) + addresses


def parse(data: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """Return the header at the start of `data` and its size in bytes; None while more bytes are needed.

    Raises ProxyError as soon as the bytes cannot become a header that we take. Unknown TLVs are skipped, as the
    specification demands; so are the addresses of a LOCAL header.
    """
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise ProxyError("the connection does not begin with a PROXY protocol version 2 header")
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ProxyError(f"version and command 0x{command:02x} are unknown; 0x20 (LOCAL) and 0x21 (PROXY) are taken")
    size = _FIXED.size + length
    if size > MAX_HEADER:
        raise ProxyError(f"a header of {size} bytes; at most {MAX_HEADER} are taken")
    if len(data) < size:
        return None
    body = bytes(data[_FIXED.size : size])
    if command == _LOCAL:
        return ProxyHeader(local=True), size
    source, destination, rest = _addresses(family, body)
    return ProxyHeader(source, destination, _unique_id(rest)), size


def _addresses(family: int, body: bytes) -> tuple[Endpoint | None, Endpoint | None, bytes]:
    if family == _UNSPEC:
        return None, None, body
    if family not in (_TCP4, _TCP6):
        raise ProxyError(f"address family and transport 0x{family:02x} are not TCP over IPv4 or IPv6")
    width = 4 if family == _TCP4 else 16
    end = 2 * width + _PORTS.size
    if len(body) < end:
        raise ProxyError(f"{len(body)} bytes do not hold two addresses and ports, which take {end}")
    make = IPv4Address if family == _TCP4 else IPv6Address
    source_port, destination_port = _PORTS.unpack_from(body, 2 * width)
    return (make(body[:width]), source_port), (make(body[width : 2 * width]), destination_port), body[end:]


def _unique_id(data: bytes) -> bytes | None:
    found: bytes | None = None
    offset = 0
    while offset < len(data):
        if len(data) - offset < _TLV.size:
            raise ProxyError("the header ends within a TLV")
        kind, length = _TLV.unpack_from(data, offset)
        offset += _TLV.size
        if len(data) - offset < length:
            raise ProxyError("the header ends within a TLV")
        if kind == _UNIQUE_ID:
            if length != UNIQUE_ID_SIZE or found is not None:
                raise ProxyError(f"there must be one unique id of {UNIQUE_ID_SIZE} bytes")
            found = data[offset : offset + length]
        offset += length
    return found
