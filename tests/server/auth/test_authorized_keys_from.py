"""The `from=` list of authorized_keys matches the addresses that sshd(8) says it matches."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.auth.authorized_keys import address_allowed, parse_sources


@pytest.mark.parametrize(
    ("patterns", "address", "allowed"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.0/24", "192.0.2.77", True),
        ("192.0.2.0/24", "192.0.3.77", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8:1::7", True),
        ("2001:DB8::1", "2001:db8:0::1", True),
        ("192.0.2.*", "192.0.2.77", True),
        ("192.0.?.1", "192.0.2.1", True),
        ("192.0.?.1", "192.0.22.1", False),
        ("*", "2001:db8::1", True),
        ("10.0.0.0/8,192.0.2.1", "192.0.2.1", True),
        ("10.0.0.0/8, 192.0.2.1", "192.0.2.1", True),
        ("10.0.0.0/8,!10.1.0.0/16", "10.2.0.1", True),
        ("10.0.0.0/8,!10.1.0.0/16", "10.1.0.1", False),
        ("!10.1.0.0/16,10.0.0.0/8", "10.1.0.1", False),
        ("!10.1.*,*", "10.1.2.3", False),
        ("!10.1.0.0/16", "192.0.2.1", False),
        ("host.example.net", "192.0.2.1", False),
        ("192.0.2.0/24", "::ffff:192.0.2.1", True),
        ("192.0.2.*", "::ffff:192.0.2.1", True),
        ("fe80::/10", "fe80::1%eth0", True),
    ],
)
def test_a_list_allows_what_sshd_says_it_allows(patterns: str, address: str, allowed: bool) -> None:
    assert address_allowed(parse_sources(patterns), ip_address(address)) is allowed


@pytest.mark.parametrize("patterns", ["*", "0.0.0.0/0,::/0", "!10.0.0.0/8"])
def test_a_unix_socket_is_in_no_list(patterns: str) -> None:
    assert not address_allowed(parse_sources(patterns), None)


@pytest.mark.parametrize("patterns", ["", ",", "192.0.2.1,", "!", "10.0.0.0/8,,10.1.2.3"])
def test_an_empty_item_is_refused(patterns: str) -> None:
    with pytest.raises(ValueError, match="empty item"):
        parse_sources(patterns)


@pytest.mark.parametrize(
    "item",
    ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "name/24"],
)
def test_a_malformed_network_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        parse_sources(item)


@given(st.text("0123456789abcdef.:/!*?, %", max_size=30), st.ip_addresses())
def test_parsing_raises_only_value_error(text: str, address: IPv4Address | IPv6Address) -> None:
    try:
        sources = parse_sources(text)
    except ValueError:
        return
    address_allowed(sources, address)
