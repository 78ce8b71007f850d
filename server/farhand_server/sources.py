"""Where clients come from: what counts as one of them for limits before login."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that identify a source. One host usually controls a whole /64 (RFC 4291, section 2.5.4)."""

Source = IPv4Address | IPv6Network


def source_of(address: IPv4Address | IPv6Address) -> Source:
    """Return the source that an address belongs to. An IPv4-mapped address (RFC 4291, 2.5.5.2) belongs to its IPv4
    address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv6Network((int(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX), IPV6_PREFIX))


def source_of_peer(peer: str) -> Source:
    """Return the source of a client whose address and port are logged as `peer`, IPv6 in brackets. Raises ValueError
    for another text."""
    return source_of(ip_address(peer.rpartition(":")[0].strip("[]")))
