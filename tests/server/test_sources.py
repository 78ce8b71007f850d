"""What counts as one source."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_address

import pytest

from farhand_server.sources import Source, source_of, source_of_peer


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_64(address: str, same: str, other: str) -> None:
    source = source_of(ip_address(address))
    assert source_of(ip_address(same)) == source
    assert source_of(ip_address(other)) != source


@pytest.mark.parametrize(
    ("peer", "source"),
    [("192.0.2.1:50214", IPv4Address("192.0.2.1")), ("[2001:db8::1]:7", IPv6Network("2001:db8::/64"))],
)
def test_the_source_of_a_client_is_that_of_its_address(peer: str, source: Source) -> None:
    assert source_of_peer(peer) == source


def test_what_is_no_address_has_no_source() -> None:
    with pytest.raises(ValueError, match="somewhere"):
        source_of_peer("somewhere:7")
