"""Whose the sockets of this machine are, as the kernel lists them (/proc/net, proc(5)). Linux only."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

_LISTS: Final = Path("/proc/net")
_UID: Final = 7
"""The field of a line that is the user of the socket."""

Address: TypeAlias = tuple[str, int]


class _Listed(NamedTuple):
    local: Address
    remote: Address
    uid: int


def stream_owner(local: Address, remote: Address) -> int | None:
    """Return the user (uid) of the TCP socket of this machine that has these two ends; None if it is not listed."""
    ends = (_plain(local), _plain(remote))
    return next((each.uid for each in _listed("tcp", local[1]) if (each.local, each.remote) == ends), None)


def datagram_owners(local: Address) -> frozenset[int]:
    """Return the users (uid) of the UDP sockets of this machine that send from an address: those that are bound to it,
    or to its port at any address."""
    host, port = _plain(local)
    places = {(host, port), ("0.0.0.0", port), ("::", port)}  # nosec B104  # compared with what others have bound
    return frozenset(each.uid for each in _listed("udp", port) if each.local in places)


def _listed(transport: str, port: int) -> Iterator[_Listed]:
    """Yield the sockets with a local port."""
    wanted = f":{port:04X}"
    for name in (transport, f"{transport}6"):
        try:
            lines = (_LISTS / name).read_text().splitlines()[1:]
        except OSError:
            continue  # another system, or no IPv6
        for line in lines:
            fields = line.split()
            if fields[1].endswith(wanted):
                yield _Listed(_parsed(fields[1]), _parsed(fields[2]), int(fields[_UID]))


def _parsed(text: str) -> Address:
    """Return an address as the kernel writes it: words of 32 bits in the order of this machine, in hexadecimal."""
    digits, _, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
    return _plain((str(ipaddress.ip_address(packed)), int(port, 16)))


def _plain(address: Address) -> Address:
    """Return an address of IPv4 in its own form where it is mapped into IPv6."""
    parsed = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed), address[1]
