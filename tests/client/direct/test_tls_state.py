"""TLS in memory, against Python's own."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest

from farhand_client.connection.tls_context import tls_context
from farhand_client.direct.tls_state import TLSState
from tests.support.tls import tls


class Service:
    """The other side."""

    def __init__(self, directory: Path) -> None:
        context, _ = tls(directory)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def answer(self, data: bytes) -> bytes:
        self.incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[TLSState, Service]:
    state, service = TLSState(tls_context(None), "web"), Service(tmp_path)
    done, data = state.shake_hands(b"")
    while not done:
        done, data = state.shake_hands(service.answer(data))
    tickets = service.answer(data)
    assert state.decrypt(memoryview(tickets), memoryview(bytearray(100))) == (0, True)
    return state, service


def test_what_is_sent_arrives_both_ways(pair: tuple[TLSState, Service]) -> None:
    state, service = pair
    service.incoming.write(state.encrypt(b"request"))
    assert service.tls.read(100) == b"request"
    service.tls.write(b"x" * 40_000)
    data, into = service.outgoing.read(), memoryview(bytearray(50_000))
    first = state.decrypt(memoryview(data)[:20_000], into)
    assert first == (16384, True)
    assert state.decrypt(memoryview(data)[20_000:], into[16384:]) == (40_000 - 16384, True)
    assert into[:40_000] == b"x" * 40_000
    assert state.answer() == b""


def test_the_end_is_told_with_a_goodbye_and_without(pair: tuple[TLSState, Service]) -> None:
    state, service = pair
    into = memoryview(bytearray(100))
    service.tls.write(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        service.tls.unwrap()
    assert state.decrypt(memoryview(service.outgoing.read()), into) == (4, False)
    assert state.say_goodbye() != b""


def test_an_end_without_goodbye_is_an_end(pair: tuple[TLSState, Service]) -> None:
    state, _ = pair
    assert state.decrypt(memoryview(b""), memoryview(bytearray(100))) == (0, False)


def test_a_changed_record_is_an_error(pair: tuple[TLSState, Service]) -> None:
    state, service = pair
    service.tls.write(b"last")
    data = bytearray(service.outgoing.read())
    data[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        state.decrypt(memoryview(data), memoryview(bytearray(100)))


def test_a_handshake_with_something_else_is_an_error() -> None:
    state = TLSState(tls_context(None), "web")
    state.shake_hands(b"")
    with pytest.raises(ssl.SSLError):
        state.shake_hands(b"SSH-2.0-OpenSSH\r\n")
