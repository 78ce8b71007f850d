"""The addresses of a host, in the order in which they are tried, and what is said if none of them accepts."""

from __future__ import annotations

import socket
from collections import deque
from itertools import chain, zip_longest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final, TypeAlias

NEXT_ADDRESS_DELAY: Final = 0.25
"""Seconds after which the next address of a name is tried in parallel (RFC 8305, section 8)."""

SocketAddress: TypeAlias = "tuple[int, Any]"
"""An address family, and an address for connect(2) in it."""


def numeric_addresses(host: str, port: int, family: int = 0) -> list[SocketAddress]:
    """Return the address that `host` itself is; empty if it is a name, or no address of the family, if one is given."""
    try:
        return _found(
            socket.getaddrinfo(_plain(host), port, family, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        )
    except socket.gaierror:
        return []


def resolved_addresses(host: str, port: int, family: int = 0) -> list[SocketAddress]:
    """Return the addresses of a name, or those of a family.

    May take as long as name servers do. Raises `socket.gaierror`.
    """
    return _found(socket.getaddrinfo(host, port, family, type=socket.SOCK_STREAM))


def alternating(addresses: Iterable[SocketAddress]) -> deque[SocketAddress]:
    """Interleave the address families, beginning with that of the first address: after a failure, try the other."""
    by_family: dict[int, list[SocketAddress]] = {}
    for each in addresses:
        by_family.setdefault(each[0], []).append(each)
    turns = chain.from_iterable(zip_longest(*by_family.values()))
    return deque(each for each in turns if each is not None)


def connect_failure(host: str, port: int, error: OSError) -> str:
    """Return what to say about the error of the first address that was tried."""
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {host} port {port}; does farhandd run there, with --listen?"
    return f"cannot connect to {host} port {port}: {error.strerror or error}"


def socket_failure(path: str | None, error: OSError) -> str:
    """Return what to say about the error of a connection to the Unix socket `path`."""
    if isinstance(error, FileNotFoundError):
        return f"there is no socket at {path}; is farhandd running?"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on the socket {path}; is farhandd running?"
    return f"cannot connect to the socket {path}: {error.strerror or error}"


def _plain(host: str) -> str | bytes:
    """Return `host` in the form for which Python need not load the codec for names, if it is an IPv4 address."""
    return host.encode() if set(host) <= {*"0123456789."} else host


def _found(found: list[tuple[Any, Any, int, str, Any]]) -> list[SocketAddress]:
    return [(family, address) for family, _, _, _, address in found]
