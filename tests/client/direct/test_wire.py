"""Frames over a socket without waiting, in clear and through TLS."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_client.connection.tls_context import tls_context
from farhand_client.direct.tls_state import TLSState
from farhand_client.direct.wire import Wire
from farhand_protocol.errors import RemoteProtocolError
from farhand_protocol.frames import Kind, encode_frame
from tests.support.tls import tls


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    wire = Wire(ours)
    wire.login_done = True
    yield wire, theirs
    wire.close()
    theirs.close()


def received(wire: Wire) -> list[tuple[int, int, bytes]]:
    return [(kind, channel, bytes(payload)) for kind, channel, payload in wire.frames()]


def arrive(wire: Wire) -> bool:
    assert select.select([wire.fd], [], [], 10)[0]
    return wire.receive()


FRAMES = [(Kind.MESSAGE, 0, b"{}"), (Kind.STDOUT, 1, b"x" * 65536), (Kind.STDERR, 7, b"y")]


@pytest.mark.parametrize("size", [1, 7, 9000, 100_000])
def test_frames_arrive_whole_however_they_are_cut(pair: tuple[Wire, socket.socket], size: int) -> None:
    wire, theirs = pair
    data = b"".join(encode_frame(*frame) for frame in FRAMES)
    got = []
    for at in range(0, len(data), size):
        if size == 1 and 40 < at < len(data) - 40:
            continue
        chunk = data[at : at + size] if size > 1 or at != 40 else data[40 : len(data) - 40]
        theirs.sendall(chunk)
        assert arrive(wire)
        got += received(wire)
    assert got == FRAMES
    assert received(wire) == []


def test_what_is_left_when_the_caller_stops_comes_next(pair: tuple[Wire, socket.socket]) -> None:
    wire, theirs = pair
    theirs.sendall(b"".join(encode_frame(*frame) for frame in FRAMES))
    arrive(wire)
    assert bytes(next(wire.frames())[2]) == b"{}"
    assert received(wire) == FRAMES[1:]


@pytest.mark.parametrize(
    ("header", "ready", "sentence"),
    [
        ("01000101 00000000", True, "a frame of 65537 bytes; the limit is 65536"),
        ("00400101 00000000", False, "a frame of 16385 bytes; the limit is 16384"),
        ("01000103 00000001", True, "a frame of 65537 bytes; the limit is 65536"),
        ("00000109 00000001", True, "unknown frame kind 9"),
        ("00000103 00000001", False, "no data are legal before the login"),
    ],
)
def test_a_frame_is_refused_from_its_header(
    pair: tuple[Wire, socket.socket], header: str, ready: bool, sentence: str
) -> None:
    wire, theirs = pair
    wire.login_done = ready
    theirs.sendall(bytes.fromhex(header))
    arrive(wire)
    with pytest.raises(RemoteProtocolError, match=f"^{sentence}$"):
        received(wire)


def test_what_the_kernel_does_not_accept_is_sent_later(pair: tuple[Wire, socket.socket]) -> None:
    wire, theirs = pair
    data = [bytes([65 + at]) * 60_000 for at in range(20)]
    for chunk in data:
        wire.send_data(1, chunk)
    assert wire.unsent
    got = b""
    while len(got) < 20 * 60_008:
        got += theirs.recv(1 << 20)
        wire.flush()
    assert got == b"".join(encode_frame(Kind.STDIN, 1, chunk) for chunk in data)
    assert not wire.unsent


def test_the_end_of_the_connection_is_told(pair: tuple[Wire, socket.socket]) -> None:
    wire, theirs = pair
    assert wire.receive()  # nothing has arrived
    assert wire.send(0, {"type": "ping", "id": 1}) == theirs.recv(100)
    theirs.close()
    assert not wire.receive()


def test_through_tls_nothing_is_different(tmp_path: Path) -> None:
    context, _ = tls(tmp_path, alpn="farhand/1")
    ours, theirs = socket.socketpair()
    state = TLSState(tls_context(None), "web")
    done, data = state.shake_hands(b"")
    assert not done
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    service = context.wrap_bio(incoming, outgoing, server_side=True)
    while not done:
        incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            service.do_handshake()
        done, data = state.shake_hands(outgoing.read())
    incoming.write(data)
    service.do_handshake()
    wire = Wire(ours, state)
    wire.login_done = True
    service.write(b"".join(encode_frame(*frame) for frame in FRAMES))
    theirs.sendall(outgoing.read())
    got: list[tuple[int, int, bytes]] = []
    while len(got) < 3:
        assert arrive(wire)
        got += received(wire)
    assert got == FRAMES
    frame = wire.send(0, {"type": "ping", "id": 1})
    incoming.write(theirs.recv(65536))
    assert service.read(100) == frame
    wire.close()
    incoming.write(theirs.recv(65536))
    assert service.read(100) == b""  # it has said goodbye
    theirs.close()


def test_an_end_without_goodbye_is_an_end(tmp_path: Path) -> None:
    state = TLSState(tls_context(None), "web")
    assert state.decrypt(memoryview(b""), memoryview(bytearray(100))) == (0, False)
