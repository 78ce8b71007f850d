"""The offered protocols are found in what TLS libraries send, and nothing else is taken for it."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farhand_server.edge.client_hello import (
    MAX_CLIENT_HELLO,
    MAX_HELLO_EXTENSIONS,
    MAX_OFFERED_NAMES,
    expected_size,
    offered_protocols,
)
from tests.server.edge.harness import openssl_hello


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def alpn(*names: bytes) -> bytes:
    return b"\0\x10" + vector(2, vector(2, b"".join(vector(1, name) for name in names)))


def hello(extensions: bytes, *, after_message: bytes = b"", after_hello: bytes = b"") -> bytes:
    body = b"\3\3" + bytes(32) + vector(1, b"") + vector(2, b"\x13\1") + vector(1, b"\0") + vector(2, extensions)
    return b"\x16\3\1" + vector(2, b"\1" + vector(3, body + after_hello) + after_message)


HELLO = openssl_hello("farhand/1", "farhand-ticket/AAAA", server_name="host.example.net")


def test_the_protocols_that_openssl_offers_are_found_in_order() -> None:
    assert offered_protocols(HELLO) == (b"farhand/1", b"farhand-ticket/AAAA")
    assert offered_protocols(HELLO + b"more bytes") == (b"farhand/1", b"farhand-ticket/AAAA")


def test_each_part_says_how_much_is_needed_and_offers_nothing() -> None:
    for size in range(len(HELLO)):
        assert size < expected_size(HELLO[:size]) <= len(HELLO)
        assert offered_protocols(HELLO[:size]) == ()


def test_a_whole_hello_needs_no_more() -> None:
    assert expected_size(HELLO) == len(HELLO)
    assert expected_size(HELLO + b"x") == len(HELLO)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x15", b"SSH-2.0-OpenSSH", b"\x80\x2e\1\3\1"])
def test_what_is_not_tls_needs_no_more_and_offers_nothing(data: bytes) -> None:
    assert expected_size(data) == len(data)
    assert offered_protocols(data) == ()


@pytest.mark.parametrize(
    "data",
    [
        hello(b""),
        hello(alpn()),
        hello(alpn(b"a", b"")),
        hello(alpn(b"a") + alpn(b"b")),
        hello(alpn(b"a") + b"\0"),
        hello(alpn(b"a") + b"\0\0\0\2\0"),
        hello(alpn(b"a"), after_hello=b"\0"),
        hello(alpn(b"a"), after_message=b"\0"),
        hello(b"\0\x10\0\3\0\1\0"),
        hello(b"\0\x10\0\5\0\2\1a\0"),
        b"\x16\3\1\0\4\2\0\0\0",
        b"\x16\3\1\0\0",
        HELLO[:5] + b"\2" + HELLO[6:],
    ],
)
def test_a_malformed_hello_offers_nothing(data: bytes) -> None:
    assert offered_protocols(data) == ()


def test_a_hello_larger_than_the_limit_offers_nothing() -> None:
    large = hello(b"\0\x15" + vector(2, bytes(MAX_CLIENT_HELLO)) + alpn(b"a"))
    assert expected_size(large[:5]) == MAX_CLIENT_HELLO
    assert offered_protocols(large) == ()


@given(st.binary(max_size=300))
@example(b"\x16\3\1\xff\xff\1\xff\xff\xff")
def test_arbitrary_bytes_are_never_an_error(data: bytes) -> None:
    offered_protocols(data)
    offered_protocols(HELLO[:5] + data)
    offered_protocols(hello(data))
    assert 0 <= expected_size(data) <= MAX_CLIENT_HELLO


@given(st.lists(st.binary(min_size=1, max_size=255), max_size=8), st.lists(st.integers(0, 9), max_size=8))
def test_the_names_are_found_among_any_other_extensions(names: list[bytes], others: list[int]) -> None:
    padding = b"".join(bytes([1, kind]) + vector(2, bytes(kind)) for kind in others)
    assert offered_protocols(hello(padding + alpn(*names) + padding)) == tuple(names)


def test_more_extensions_or_names_than_clients_send_are_not_looked_at() -> None:
    most = b"\1\1\0\0" * (MAX_HELLO_EXTENSIONS - 1) + alpn(*[b"a"] * MAX_OFFERED_NAMES)
    assert offered_protocols(hello(most)) == (b"a",) * MAX_OFFERED_NAMES
    assert offered_protocols(hello(most + b"\1\1\0\0")) == ()
    assert offered_protocols(hello(alpn(*[b"a"] * (MAX_OFFERED_NAMES + 1)))) == ()


@pytest.mark.parametrize("extensions", [b"\1\1\0\0" * 950, alpn(*[b"a"] * 1900)])
def test_a_hello_full_of_extensions_or_names_costs_little_more_than_a_usual_one(extensions: bytes) -> None:
    def cost(data: bytes) -> float:
        best = []
        for _ in range(9):
            began = time.process_time()
            for _ in range(20):
                offered_protocols(data)
            best.append(time.process_time() - began)
        return min(best)

    # Without a limit, it is 60 times as much.
    assert cost(hello(extensions)) < 15 * cost(HELLO)
