"""SOCKS 4, 4a and 5 as a server speaks them; no I/O.

SOCKS5 is RFC 1928, without authentication (method 0). SOCKS4 and 4a are the memos of Y. Lee (NEC, 1994 and 1996). Of
the commands CONNECT is served, and UDP ASSOCIATE of SOCKS5; BIND is refused.

A `SocksHandshake` says how many bytes it is certain to need (`wanted`). Whoever feeds it reads no more than that at
once, so what follows the request, the connection's own bytes, is never read by mistake.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, Literal, NamedTuple, TypeAlias

from farhand_forwards.targets import MAX_HOST_SIZE, ForwardCause

MAX_USER_ID: Final = 255
"""Bytes of a SOCKS4 user id, which is not used: as many as a user name of SOCKS5 may have (RFC 1929)."""

SocksCommand: TypeAlias = Literal["connect", "bind", "associate"]

_COMMANDS: Final[dict[int, SocksCommand]] = {1: "connect", 2: "bind", 3: "associate"}

_NO_AUTHENTICATION: Final = 0
_NO_ACCEPTABLE_METHOD: Final = 0xFF

_IPV4: Final = 1
_NAME: Final = 3
_IPV6: Final = 4

SocksReply: TypeAlias = ForwardCause | Literal["granted", "command", "address"]
"""How a request is answered: it is granted, or why not. `command` and `address` are a command and a type of address
that are not served."""

_REPLIES_5: Final[dict[SocksReply, int]] = {
    "granted": 0,
    "failed": 1,
    "busy": 1,
    "denied": 2,
    "unreachable": 4,
    "unresolved": 4,
    "refused": 5,
    "timeout": 6,  # "TTL expired": what Dante, the reference implementation's successor, answers after a timeout
    "command": 7,
    "address": 8,
}

_GRANTED_4: Final = 90
_REFUSED_4: Final = 91

_NOWHERE: Final = ("0.0.0.0", 0)  # nosec B104  # an address in an answer; nothing is bound to it


class SocksError(Exception):
    """What has arrived is no SOCKS, or asks for what is not served. The text says what.

    `answer` is what to send before the connection is closed; it may be empty.
    """

    def __init__(self, text: str, answer: bytes = b"") -> None:
        super().__init__(text)
        self.answer: Final = answer


class SocksRequest(NamedTuple):
    """What a program asks of the server: to connect to `host`, a name or an address, or to relay its datagrams."""

    version: Literal[4, 5]
    command: SocksCommand
    host: str
    port: int

    def answer(self, reply: SocksReply, bound: tuple[str, int] = _NOWHERE) -> bytes:
        """Return the bytes that answer this request. `bound` is an address and a port of the server."""
        if self.version == 4:
            return struct.pack(">BBH4x", 0, _GRANTED_4 if reply == "granted" else _REFUSED_4, 0)
        return bytes((5, _REPLIES_5[reply], 0)) + _address(*bound)


class SocksHandshake:
    """The beginning of a connection to a SOCKS server, up to the request.

    Call `receive` with at most `wanted` bytes, and send what it appends to `outgoing`, until it returns the request.
    """

    def __init__(self) -> None:
        self.wanted = 2
        """Bytes that are needed at least before the request is complete."""
        self.outgoing = bytearray()
        """What is to be sent. The caller clears it."""
        self._received = bytearray()
        self._greeted = False

    def receive(self, data: bytes) -> SocksRequest | None:
        """Take `data`, from 1 to `wanted` bytes; return the request once it is complete. Raises `SocksError`."""
        self._received += data
        self.wanted -= len(data)
        assert self.wanted >= 0, "more bytes than wanted"
        if self.wanted:
            return None
        match self._received[0]:
            case 5 if self._greeted:
                return self._request_5()
            case 5:
                self._greeting()
                return None
            case 4 if not self._greeted:
                return self._request_4()
            case 0x43 | 0x47 | 0x50:  # CONNECT, GET, POST or PUT
                raise SocksError("this is a SOCKS server, and the program speaks HTTP: set it as a SOCKS proxy there")
            case version:
                raise SocksError(f"a SOCKS connection begins with the version 4 or 5, not with {version}")

    def _greeting(self) -> None:
        count = self._received[1]
        if not self._needs(2 + count):
            if _NO_AUTHENTICATION not in self._received[2:]:
                text = "the program asks for a password, and there is none here: use SOCKS without authentication"
                raise SocksError(text, bytes((5, _NO_ACCEPTABLE_METHOD)))
            self.outgoing += bytes((5, _NO_AUTHENTICATION))
            self._greeted = True
            self._received.clear()
            self.wanted = 5

    def _request_5(self) -> SocksRequest | None:
        received = self._received
        kind = received[3]
        size = {_IPV4: 10, _NAME: 7 + received[4], _IPV6: 22}.get(kind)
        if size is None:
            raise SocksError(f"{kind} is no type of address in SOCKS5", _refusal_5("address"))
        if self._needs(size):
            return None
        command = _COMMANDS.get(received[1])
        if command is None:
            raise SocksError(f"{received[1]} is no command of SOCKS5", _refusal_5("command"))
        host, port = _parsed_address(kind, bytes(received[4:]))
        if host is None:
            raise SocksError("the name in a SOCKS5 request is no host name", _refusal_5("unresolved"))
        return SocksRequest(5, command, host, port)

    def _request_4(self) -> SocksRequest | None:
        received = self._received
        if self._needs(9):
            return None
        refusal = struct.pack(">BBH4x", 0, _REFUSED_4, 0)
        end = received.find(0, 8)
        if end < 0:
            self._one_more(8 + MAX_USER_ID, "the user id of a SOCKS4 request", refusal)
            return None
        host: str | None = str(ipaddress.IPv4Address(bytes(received[4:8])))
        if received[4:7] == b"\0\0\0" and received[7]:  # SOCKS4a: the name follows the user id
            if len(received) == end + 1 or received[-1]:
                self._one_more(end + 1 + MAX_HOST_SIZE, "the name in a SOCKS4a request", refusal)
                return None
            host = _host_name(bytes(received[end + 1 : -1]))
        command = _COMMANDS.get(received[1])
        if command is None or command == "associate":
            raise SocksError(f"{received[1]} is no command of SOCKS4", refusal)
        if host is None:
            raise SocksError("the name in a SOCKS4a request is no host name", refusal)
        return SocksRequest(4, command, host, int.from_bytes(received[2:4]))

    def _needs(self, size: int) -> bool:
        """Want what is missing of `size` bytes, and return whether anything is."""
        self.wanted = max(0, size - len(self._received))
        return self.wanted > 0

    def _one_more(self, limit: int, what: str, refusal: bytes) -> None:
        if len(self._received) > limit:
            raise SocksError(f"{what} is too long", refusal)
        self.wanted = 1


class SocksDatagram(NamedTuple):
    """A datagram between a program and the relay: where it is sent to or comes from, and its content."""

    host: str
    port: int
    data: bytes

    def encoded(self) -> bytes:
        """Return the bytes of the whole datagram (RFC 1928, section 7)."""
        return b"\0\0\0" + _address(self.host, self.port) + self.data


def datagram_from(data: bytes) -> SocksDatagram | None:
    """Return the datagram in `data`; None if it is no such datagram, or a fragment, which servers may drop."""
    if len(data) < 5 or data[:3] != b"\0\0\0":
        return None
    size = {_IPV4: 10, _NAME: 7 + data[4], _IPV6: 22}.get(data[3])
    if size is None or len(data) < size:
        return None
    host, port = _parsed_address(data[3], data[4:size])
    return None if host is None or not port else SocksDatagram(host, port, data[size:])


def _parsed_address(kind: int, data: bytes) -> tuple[str | None, int]:
    port = int.from_bytes(data[-2:])
    if kind == _NAME:
        return _host_name(data[1:-2]), port
    return str(ipaddress.ip_address(data[:-2])), port


def _host_name(data: bytes) -> str | None:
    """Return the host of these bytes; None if no resolver could know it."""
    try:
        host = data.decode()
    except UnicodeDecodeError:
        return None
    return host if host and host.isprintable() else None


def _address(host: str, port: int) -> bytes:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.encode()[:255]
        return bytes((_NAME, len(name))) + name + port.to_bytes(2)
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed + port.to_bytes(2)


def _refusal_5(reply: SocksReply) -> bytes:
    return bytes((5, _REPLIES_5[reply], 0)) + _address(*_NOWHERE)
