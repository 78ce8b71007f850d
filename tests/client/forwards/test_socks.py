"""What programs say to a SOCKS server, and what it answers."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.forwards.socks import (
    MAX_USER_ID,
    SocksDatagram,
    SocksError,
    SocksHandshake,
    SocksReply,
    SocksRequest,
    datagram_from,
)
from farhand_forwards.targets import FORWARD_CAUSES, MAX_HOST_SIZE

GREETING = b"\x05\x01\x00"
CHOICE = b"\x05\x00"
IPV4_REFUSAL = b"\x00\x5b" + bytes(6)

REQUESTS = [
    pytest.param(
        GREETING + b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
        SocksRequest(5, "connect", "127.0.0.1", 80),
        id="SOCKS5, IPv4",
    ),
    pytest.param(
        GREETING + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x01\xbb",
        SocksRequest(5, "connect", "::1", 443),
        id="SOCKS5, IPv6",
    ),
    pytest.param(
        GREETING + b"\x05\x01\x00\x03\x07db.test\x15\x38",
        SocksRequest(5, "connect", "db.test", 5432),
        id="SOCKS5, name",
    ),
    pytest.param(
        b"\x05\x03\x02\x01\x00" + b"\x05\x01\x00\x03\x01a\x00\x01",
        SocksRequest(5, "connect", "a", 1),
        id="SOCKS5, no authentication among other methods",
    ),
    pytest.param(
        GREETING + b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00",
        SocksRequest(5, "associate", "0.0.0.0", 0),
        id="SOCKS5, associate",
    ),
    pytest.param(
        GREETING + b"\x05\x02\x00\x01\x01\x02\x03\x04\x00\x15",
        SocksRequest(5, "bind", "1.2.3.4", 21),
        id="SOCKS5, bind",
    ),
    pytest.param(
        b"\x04\x01\x00\x50\x01\x02\x03\x04\x00", SocksRequest(4, "connect", "1.2.3.4", 80), id="SOCKS4, no user id"
    ),
    pytest.param(
        b"\x04\x01\x00\x50\x01\x02\x03\x04me\x00", SocksRequest(4, "connect", "1.2.3.4", 80), id="SOCKS4, user id"
    ),
    pytest.param(
        b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00web\x00", SocksRequest(4, "connect", "web", 80), id="SOCKS4a, name"
    ),
    pytest.param(
        b"\x04\x01\x00\x50\x00\x00\x00\xff\x00web\x00", SocksRequest(4, "connect", "web", 80), id="SOCKS4a, no user id"
    ),
    pytest.param(
        b"\x04\x01\x00\x50\x00\x00\x00\x00\x00", SocksRequest(4, "connect", "0.0.0.0", 80), id="SOCKS4, all zeros"
    ),
    pytest.param(b"\x04\x02\x00\x15\x01\x02\x03\x04\x00", SocksRequest(4, "bind", "1.2.3.4", 21), id="SOCKS4, bind"),
]

NONSENSE = [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", b"", "HTTP", id="HTTP"),
    pytest.param(b"\x16\x03\x01\x02", b"", "not with 22", id="TLS"),
    pytest.param(b"\x05\x01\x02", b"\x05\xff", "password", id="only a password"),
    pytest.param(b"\x05\x00", b"\x05\xff", "password", id="no method"),
    pytest.param(
        GREETING + b"\x04\x01\x00\x01\x01", b"\x05\x00", "not with 4", id="another version after the greeting"
    ),
    pytest.param(
        GREETING + b"\x05\x01\x00\x05\x01",
        CHOICE + b"\x05\x08\x00\x01" + bytes(6),
        "type of address",
        id="address type",
    ),
    pytest.param(
        GREETING + b"\x05\x09\x00\x01\x01\x02\x03\x04\x00\x50",
        CHOICE + b"\x05\x07\x00\x01" + bytes(6),
        "no command",
        id="SOCKS5 command",
    ),
    pytest.param(
        GREETING + b"\x05\x01\x00\x03\x00\x00\x50",
        CHOICE + b"\x05\x04\x00\x01" + bytes(6),
        "no host name",
        id="empty name",
    ),
    pytest.param(
        GREETING + b"\x05\x01\x00\x03\x02a\xff\x00\x50",
        CHOICE + b"\x05\x04\x00\x01" + bytes(6),
        "no host name",
        id="name that is no text",
    ),
    pytest.param(b"\x04\x03\x00\x50\x01\x02\x03\x04\x00", IPV4_REFUSAL, "no command", id="SOCKS4 command"),
    pytest.param(b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", IPV4_REFUSAL, "no host name", id="empty SOCKS4a name"),
    pytest.param(
        b"\x04\x01\x00\x50\x01\x02\x03\x04" + b"u" * (MAX_USER_ID + 1), IPV4_REFUSAL, "user id", id="long user id"
    ),
    pytest.param(
        b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"n" * (MAX_HOST_SIZE + 1), IPV4_REFUSAL, "too long", id="long name"
    ),
]


def answered(data: bytes, step: int = 1 << 20) -> tuple[SocksRequest | None, bytes, bytes]:
    """Feed `data` to a server in chunks of `step` bytes at most, as it wants them.

    Return its request, its answers, and what it did not take.
    """
    handshake = SocksHandshake()
    while data:
        size = min(step, handshake.wanted)
        request, data = handshake.receive(data[:size]), data[size:]
        if request is not None:
            return request, bytes(handshake.outgoing), data
    return None, bytes(handshake.outgoing), b""


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(("data", "request_"), REQUESTS)
def test_a_request_is_understood_in_any_chunks_and_nothing_after_it_is_taken(
    data: bytes, request_: SocksRequest, step: int
) -> None:
    answer = CHOICE if request_.version == 5 else b""
    assert answered(data + b"GET /", step) == (request_, answer, b"GET /")


@pytest.mark.parametrize(("data", "request_"), REQUESTS)
def test_a_request_that_stops_early_is_none(data: bytes, request_: SocksRequest) -> None:
    for size in range(len(data)):
        assert answered(data[:size])[0] is None


@pytest.mark.parametrize(("data", "answer", "text"), NONSENSE)
def test_what_is_no_request_is_answered_and_named(data: bytes, answer: bytes, text: str) -> None:
    handshake = SocksHandshake()

    def feed() -> None:
        at = 0
        while at < len(data):
            size = handshake.wanted
            assert handshake.receive(data[at : at + size]) is None
            at += size

    with pytest.raises(SocksError, match=text) as raised:
        feed()
    assert bytes(handshake.outgoing) + raised.value.answer == answer


@given(st.binary(max_size=800))
def test_no_bytes_make_a_server_fail_in_another_way_or_want_more_than_a_handshake_has(data: bytes) -> None:
    handshake, taken = SocksHandshake(), 0
    try:
        while data:
            size = handshake.wanted
            assert 1 <= size <= 22 + MAX_HOST_SIZE
            taken += len(data[:size])
            if handshake.receive(data[:size]) is not None:
                break
            data = data[size:]
    except SocksError as error:
        assert str(error)  # noqa: PT017  # whatever it says
    assert taken <= 2 + 255 + 7 + 255 + MAX_HOST_SIZE


@given(st.from_regex(r"[a-z0-9.-]{1,255}", fullmatch=True), st.integers(0, 65535), st.binary(max_size=50))
def test_any_name_is_understood_in_socks_5_and_4a(name: str, port: int, after: bytes) -> None:
    five = b"\x05\x01\x00\x03" + bytes((len(name),)) + name.encode() + struct.pack(">H", port)
    assert answered(GREETING + five + after) == (SocksRequest(5, "connect", name, port), CHOICE, after)
    four = b"\x04\x01" + struct.pack(">H", port) + b"\0\0\0\x01" + b"me\0" + name.encode() + b"\0"
    assert answered(four + after) == (SocksRequest(4, "connect", name, port), b"", after)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("granted", 0),
        ("failed", 1),
        ("denied", 2),
        ("unreachable", 4),
        ("unresolved", 4),
        ("refused", 5),
        ("timeout", 6),
        ("command", 7),
        ("address", 8),
    ],
)
def test_each_answer_has_the_code_of_the_specification(reply: SocksReply, code: int) -> None:
    request = SocksRequest(5, "connect", "web", 80)
    assert request.answer(reply) == bytes((5, code, 0, 1)) + bytes(6)
    assert request._replace(version=4).answer(reply) == bytes((0, 91 if code else 90)) + bytes(6)


def test_every_cause_has_an_answer() -> None:
    for cause in FORWARD_CAUSES:
        assert SocksRequest(5, "connect", "web", 80).answer(cause)[1] in range(1, 9)


def test_an_answer_names_the_address_of_the_relay_in_either_family() -> None:
    request = SocksRequest(5, "associate", "0.0.0.0", 0)
    assert request.answer("granted", ("127.0.0.1", 0x1234)) == b"\x05\0\0\x01\x7f\0\0\x01\x12\x34"
    assert request.answer("granted", ("::1", 0x1234)) == b"\x05\0\0\x04" + bytes(15) + b"\x01\x12\x34"


@given(
    st.ip_addresses().map(str) | st.from_regex(r"[a-z][a-z.-]{0,200}", fullmatch=True),
    st.integers(1, 65535),
    st.binary(),
)
def test_a_datagram_arrives_as_it_was_sent(host: str, port: int, data: bytes) -> None:
    datagram = SocksDatagram(host, port, data)
    assert datagram_from(datagram.encoded()) == datagram


@given(st.binary(max_size=300))
def test_no_datagram_makes_the_relay_fail(data: bytes) -> None:
    for beginning in (b"", b"\0\0\0", b"\0\0\0\x01", b"\0\0\0\x03", b"\0\0\0\x04"):
        datagram = datagram_from(beginning + data)
        assert datagram is None or datagram.host.isprintable()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\x01",
        b"\0\0\x01\x01" + bytes(4) + b"\0\x35x",
        b"\0\x01\0\x01" + bytes(4) + b"\0\x35x",
        b"\0\0\0\x01" + bytes(4) + b"\0\0x",
        b"\0\0\0\x03\x00\0\x35x",
        b"\0\0\0\x02" + bytes(20),
    ],
)
def test_a_datagram_without_a_destination_is_dropped_and_so_is_a_fragment(data: bytes) -> None:
    assert datagram_from(data) is None


def test_the_zone_of_an_address_is_left_out() -> None:
    datagram = datagram_from(SocksDatagram("fe80::1%eth0", 53, b"x").encoded())
    assert datagram is not None
    assert ipaddress.ip_address(datagram.host) == ipaddress.ip_address("fe80::1")
