import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.auth.sources import admits, parse_address, parse_sources


@pytest.mark.parametrize(
    ("patterns", "address", "admitted"),
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
def test_a_list_admits_what_sshd_says_it_admits(patterns: str, address: str, admitted: bool) -> None:
    assert admits(parse_sources(patterns), parse_address(address)) is admitted


@pytest.mark.parametrize("patterns", ["*", "0.0.0.0/0,::/0", "!10.0.0.0/8"])
def test_a_unix_socket_is_in_no_list(patterns: str) -> None:
    assert not admits(parse_sources(patterns), None)


@pytest.mark.parametrize("patterns", ["", ",", "192.0.2.1,", "!", "10.0.0.0/8,,10.1.2.3"])
def test_an_empty_item_is_refused(patterns: str) -> None:
    with pytest.raises(ValueError, match="empty item"):
        parse_sources(patterns)


@pytest.mark.parametrize(
    "item",
    ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "name/24"],
)
def test_what_looks_like_a_network_and_is_none_is_refused(item: str) -> None:
    with pytest.raises(ValueError, match="is not a network"):
        parse_sources(item)


@given(st.text("0123456789abcdef.:/!*?, %", max_size=30), st.ip_addresses())
def test_no_list_raises_anything_but_value_error(text: str, address: object) -> None:
    try:
        sources = parse_sources(text)
    except ValueError:
        return
    admits(sources, parse_address(str(address)))
