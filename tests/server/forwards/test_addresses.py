"""An address that must be named is recognized however it is written."""

from __future__ import annotations

import pytest

from farhand_server.forwards.addresses import guarded, parsed_address


@pytest.mark.parametrize(
    "text",
    [
        *("169.254.169.254", "169.254.0.1", "169.254.170.2", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe"),
        *(
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "::ffff:0:169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fe80::1%eth0",
            "febf::1",
            "fd00:ec2::254",
        ),
        *(
            "fd20:ce::254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:0.0.0.0",
        ),
    ],
)
def test_what_answers_to_anybody_on_this_machine_must_be_named(text: str) -> None:
    found = guarded(parsed_address(text))
    assert found is not None
    assert len(found[1]) > 10


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "1.1.1.1", "169.253.255.255", "2001:db8::1", "fec0::1", "fd00::1"],
)
def test_other_addresses_need_not(text: str) -> None:
    assert guarded(parsed_address(text)) is None


@pytest.mark.parametrize(("text", "same"), [("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%1", "fe80::1"), ("::1", "::1")])
def test_an_address_has_no_zone_and_one_form(text: str, same: str) -> None:
    assert str(parsed_address(text)) == same


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "010.0.0.1", "2130706433", "1.2.3.4/8"])
def test_what_only_a_resolver_understands_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        parsed_address(text)
