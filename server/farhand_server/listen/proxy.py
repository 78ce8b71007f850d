"""The PROXY protocol, version 2: the header in which an edge names the client whose bytes follow.

Functions without I/O. Numbers and layout come from haproxy's proxy-protocol.txt, section 2.2.
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
"""Longest accepted header in bytes: 52 for the fixed part with IPv6 addresses, 22 for our TLVs, and room for those of a
proxy in front of the edge. A longer header is refused from its first 16 bytes."""
UNIQUE_ID_SIZE: Final = 16
"""Bytes of a unique id. The format allows up to 128; ours are random, so 16 bytes are enough to be unique."""

_FIXED: Final = Struct("!12sBBH")
_TLV: Final = Struct("!BH")
_PORTS: Final = Struct("!HH")
_LOCAL, _PROXY = 0x20, 0x21  # version 2 in the upper half
_UNSPEC, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_UNIQUE_ID = 0x05  # PP2_TYPE_UNIQUE_ID
_WEB = 0xEF  # PP2_TYPE_MAX_CUSTOM: the last type that applications may use as they like


class ProxyError(ValueError):
    """The bytes are not an acceptable PROXY header; the text says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The content of a header. `source` and `destination` are both set or both None."""

    source: Endpoint | None = None
    """The client's address; None with the command LOCAL, and if the sender does not know it (UNSPEC)."""
    destination: Endpoint | None = None
    """The address that the client connected to."""
    unique_id: bytes | None = None
    """16 bytes that identify this connection in login verdicts."""
    local: bool = False
    """Whether the command is LOCAL: the connection is the sender's own, not a client's."""
    web: bool = False
    """Whether the client is a browser that has come through the web door."""


def encode(header: ProxyHeader) -> bytes:
    """Return the bytes of a header. Raises ValueError if only one address is set, or if their families differ."""
    family, addresses = _UNSPEC, b""
    if header.source is not None and header.destination is not None:
        (source, source_port), (destination, destination_port) = header.source, header.destination
        if source.version != destination.version:
            raise ValueError("source and destination must have the same address family")
        family = _TCP4 if source.version == 4 else _TCP6
        addresses = source.packed + destination.packed + _PORTS.pack(source_port, destination_port)
    elif header.source is not None or header.destination is not None:
        raise ValueError("source and destination must both be set or both be None")
    if header.unique_id is not None:
        if len(header.unique_id) != UNIQUE_ID_SIZE:
            raise ValueError(f"a unique id must have {UNIQUE_ID_SIZE} bytes")
        addresses += _TLV.pack(_UNIQUE_ID, UNIQUE_ID_SIZE) + header.unique_id
    if header.web:
        addresses += _TLV.pack(_WEB, 0)
    return _FIXED.pack(SIGNATURE, _LOCAL if header.local else _PROXY, family, len(addresses)) + addresses


def parse(data: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """Return the header at the start of `data` and its size in bytes; None while more bytes are needed.

    Raises ProxyError as soon as the bytes cannot become an acceptable header. Unknown TLVs are skipped, as the
    specification requires, and so are the addresses of a LOCAL header.
    """
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise ProxyError("the connection does not begin with a PROXY protocol version 2 header")
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ProxyError(f"version and command 0x{command:02x} are unknown; 0x20 (LOCAL) and 0x21 (PROXY) are accepted")
    size = _FIXED.size + length
    if size > MAX_HEADER:
        raise ProxyError(f"the header has {size} bytes; at most {MAX_HEADER} are accepted")
    if len(data) < size:
        return None
    body = bytes(data[_FIXED.size : size])
    if command == _LOCAL:
        return ProxyHeader(local=True), size
    source, destination, rest = _addresses(family, body)
    unique_id, web = _extensions(rest)
    return ProxyHeader(source, destination, unique_id, web=web), size


def _addresses(family: int, body: bytes) -> tuple[Endpoint | None, Endpoint | None, bytes]:
    if family == _UNSPEC:
        return None, None, body
    if family not in (_TCP4, _TCP6):
        raise ProxyError(f"address family and transport 0x{family:02x} are not TCP over IPv4 or IPv6")
    width = 4 if family == _TCP4 else 16
    end = 2 * width + _PORTS.size
    if len(body) < end:
        raise ProxyError(f"{len(body)} bytes do not hold two addresses and ports, which need {end}")
    make = IPv4Address if family == _TCP4 else IPv6Address
    source_port, destination_port = _PORTS.unpack_from(body, 2 * width)
    return (make(body[:width]), source_port), (make(body[width : 2 * width]), destination_port), body[end:]


def _extensions(data: bytes) -> tuple[bytes | None, bool]:
    """Return the unique id, and whether the client has come through the web door."""
    found: bytes | None = None
    web = False
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
        web = web or kind == _WEB
        offset += length
    return found, web
