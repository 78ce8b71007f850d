"""Addresses that forwards reach only by a rule that names them: what answers there trusts anybody on this machine."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

IPAddressOf: TypeAlias = IPv4Address | IPv6Address
IPNetworkOf: TypeAlias = IPv4Network | IPv6Network

_TRANSLATED: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
"""Addresses whose last 32 bits are one of IPv4, which a translator on the way connects to (RFC 6052, RFC 8215 with a
prefix of 96 bits, and RFC 2765)."""

_GUARDED: Final[tuple[tuple[IPNetworkOf, str], ...]] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("169.254.0.0/16", "a link-local address, where cloud machines get their credentials"),
        ("fe80::/10", "a link-local address"),
        ("fd00:ec2::/32", "where machines of Amazon get their credentials"),
        ("fd20:ce::254/128", "where machines of Google get their credentials"),
        ("100.100.100.200/32", "where machines of Alibaba get their credentials"),
        ("192.0.0.192/32", "where machines of Oracle get their credentials"),
        ("168.63.129.16/32", "where machines of Azure are controlled from"),
        ("0.0.0.0/8", "no address of a machine; connecting to it leads to this one"),
        ("::/128", "no address of a machine; connecting to it leads to this one"),
    )
)


def parsed_address(text: str) -> IPAddressOf:
    """Return an address without its zone; one of IPv4 that is written as one of IPv6 (`::ffff:192.0.2.1`) as what it
    is. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def guarded(address: IPAddressOf) -> tuple[IPNetworkOf, str] | None:
    """Return the network for which a rule must name the address, and what is there; None if no rule must."""
    reached = (address, *_embedded(address))
    return next(((network, what) for network, what in _GUARDED if any(each in network for each in reached)), None)


def _embedded(address: IPAddressOf) -> tuple[IPAddressOf, ...]:
    """Return the addresses of IPv4 to which gateways on the way would translate an address."""
    if isinstance(address, IPv4Address):
        return ()
    found = [address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _TRANSLATED):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(each for each in found if each is not None)
