"""PROXY protocol version 2 headers, as haproxy's proxy-protocol.txt lays them out in section 2.2."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.listen.proxy import MAX_HEADER, Endpoint, ProxyError, ProxyHeader, encode, parse
from tests.support.cost import assert_linear

SIGNATURE = "0d0a0d0a 000d0a51 5549540a"
ID = bytes(range(16))

V4 = ProxyHeader((IPv4Address("192.0.2.1"), 56324), (IPv4Address("198.51.100.7"), 7022), ID)
V6 = ProxyHeader((IPv6Address("2001:db8::1"), 1), (IPv6Address("2001:db8::2"), 65535))

LAYOUT = [
    pytest.param(ProxyHeader(local=True), f"{SIGNATURE} 20 00 0000", id="local"),
    pytest.param(ProxyHeader(), f"{SIGNATURE} 21 00 0000", id="unspec"),
    pytest.param(
        V4,
        f"{SIGNATURE} 21 11 001f c0000201 c6336407 dc04 1b6e 05 0010 000102030405060708090a0b0c0d0e0f",
        id="tcp4-unique-id",
    ),
    pytest.param(
        V6,
        f"{SIGNATURE} 21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 0001 ffff",
        id="tcp6",
    ),
]


@pytest.mark.parametrize(("header", "layout"), LAYOUT)
def test_header_has_the_layout_of_the_specification(header: ProxyHeader, layout: str) -> None:
    data = bytes.fromhex(layout)
    assert encode(header) == data
    assert parse(data) == (header, len(data))


@pytest.mark.parametrize(("header", "layout"), LAYOUT)
def test_every_prefix_needs_more_and_later_bytes_are_left_alone(header: ProxyHeader, layout: str) -> None:
    data = bytes.fromhex(layout)
    for end in range(len(data)):
        assert parse(data[:end]) is None
    assert parse(bytearray(data + b"the client's first bytes")) == (header, len(data))


def endpoints(version: Literal[4, 6]) -> st.SearchStrategy[Endpoint]:
    return st.tuples(st.ip_addresses(v=version), st.integers(0, 65535))


@given(
    addresses=st.tuples(endpoints(4), endpoints(4)) | st.tuples(endpoints(6), endpoints(6)),
    unique_id=st.none() | st.binary(min_size=16, max_size=16),
)
def test_an_encoded_header_is_parsed_back(addresses: tuple[Endpoint, Endpoint], unique_id: bytes | None) -> None:
    header = ProxyHeader(*addresses, unique_id)
    data = encode(header)
    assert parse(data) == (header, len(data))


@given(st.binary(max_size=64).map(bytes.fromhex("0d0a0d0a000d0a515549540a").__add__) | st.binary(max_size=64))
def test_any_bytes_give_a_header_none_or_a_proxy_error(data: bytes) -> None:
    try:
        parsed = parse(data)
    except ProxyError:
        return
    assert parsed is None or 16 <= parsed[1] <= len(data)


def test_a_browser_is_told_from_other_clients() -> None:
    header = ProxyHeader(V4.source, V4.destination, ID, web=True)
    data = encode(header)
    assert parse(data) == (header, len(data))


def test_unknown_tlvs_are_skipped() -> None:
    data = bytes.fromhex(f"{SIGNATURE} 21 11 0023 c0000201 c6336407 dc04 1b6e e0 0001 ff 05 0010") + ID
    parsed = parse(data)
    assert parsed is not None
    assert parsed[0] == V4


def test_addresses_in_a_local_header_are_ignored() -> None:
    data = bytes.fromhex(f"{SIGNATURE} 20 11 000c c0000201 c6336407 dc04 1b6e")
    assert parse(data) == (ProxyHeader(local=True), len(data))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param("16030100", "does not begin", id="a TLS hello"),
        pytest.param("50524f5859205443503420", "does not begin", id="version 1"),
        pytest.param(f"{SIGNATURE} 11 11 0000", "version and command 0x11", id="version"),
        pytest.param(f"{SIGNATURE} 22 11 0000", "version and command 0x22", id="command"),
        pytest.param(f"{SIGNATURE} 21 12 0000", "transport 0x12", id="udp"),
        pytest.param(f"{SIGNATURE} 21 31 0000", "transport 0x31", id="unix"),
        pytest.param(f"{SIGNATURE} 21 11 000b c0000201 c6336407 dc04 1b", "do not hold two addresses", id="short"),
        pytest.param(f"{SIGNATURE} 21 00 0001 05", "within a TLV", id="tlv head"),
        pytest.param(f"{SIGNATURE} 21 00 0004 05 0010 00", "within a TLV", id="tlv body"),
        pytest.param(f"{SIGNATURE} 21 00 0004 05 0001 00", "one unique id of 16", id="unique id of 1"),
        pytest.param(f"{SIGNATURE} 21 00 0026 {2 * ('05 0010' + '00' * 16)}", "one unique id", id="two unique ids"),
    ],
)
def test_a_bad_header_is_refused_with_a_sentence(data: str, sentence: str) -> None:
    with pytest.raises(ProxyError, match=sentence):
        parse(bytes.fromhex(data))


def test_a_length_beyond_the_limit_is_refused_from_the_first_16_bytes() -> None:
    largest = MAX_HEADER - 16
    assert parse(bytes.fromhex(f"{SIGNATURE} 21 00") + largest.to_bytes(2, "big")) is None
    with pytest.raises(ProxyError, match=f"{MAX_HEADER + 1} bytes"):
        parse(bytes.fromhex(f"{SIGNATURE} 21 00") + (largest + 1).to_bytes(2, "big"))


@pytest.mark.parametrize(
    "header",
    [
        ProxyHeader((ip_address("192.0.2.1"), 1), (ip_address("2001:db8::1"), 1)),
        ProxyHeader((ip_address("192.0.2.1"), 1)),
        ProxyHeader(unique_id=b"short"),
    ],
)
def test_an_invalid_header_is_not_encoded(header: ProxyHeader) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(header)


def test_ten_times_the_header_costs_ten_times_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_server.listen.proxy.MAX_HEADER", 1 << 20)

    def header(count: int) -> bytes:
        values = b"\x30\x00\x01x" * count
        return encode(ProxyHeader(local=True))[:12] + b"\x21\x00" + len(values).to_bytes(2, "big") + values

    assert_linear(parse, header, 1600)
