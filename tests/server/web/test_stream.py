from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from farhand_server.edge.streams import PlainStream
from farhand_server.web.framing import FramingError, Opcode
from farhand_server.web.stream import WebSocketStream
from tests.support.browser_frames import masked

BUFFER = memoryview(bytearray(128 << 10))


@pytest.fixture
def joined() -> Iterator[tuple[socket.socket, WebSocketStream]]:
    browser, theirs = socket.socketpair()
    theirs.setblocking(False)
    browser.settimeout(10)
    stream = WebSocketStream(PlainStream(theirs), masked(b"first"))
    yield browser, stream
    browser.close()
    stream.close()


def read(stream: WebSocketStream) -> bytes | None:
    size = stream.read_into(BUFFER)
    return None if size is None else bytes(BUFFER[:size])


def test_what_the_browser_has_sent_comes_out_of_its_frames(joined: tuple[socket.socket, WebSocketStream]) -> None:
    browser, stream = joined
    assert stream.has_more()
    assert read(stream) == b"first"
    assert read(stream) is None
    browser.sendall(masked(b"one") + masked(b"two")[:4])
    assert read(stream) == b"one"
    assert not stream.has_more()
    browser.sendall(masked(b"two")[4:])
    assert read(stream) == b"two"
    browser.sendall(masked(b"\x03\xe8", Opcode.CLOSE))
    assert read(stream) == b""


def test_a_browser_that_is_gone_has_ended(joined: tuple[socket.socket, WebSocketStream]) -> None:
    browser, stream = joined
    browser.close()
    assert (read(stream), read(stream)) == (b"first", b"")


def test_a_ping_is_answered_between_two_frames(joined: tuple[socket.socket, WebSocketStream]) -> None:
    browser, stream = joined
    browser.sendall(masked(b"?", Opcode.PING))
    read(stream)
    assert read(stream) is None
    assert stream.write(memoryview(b"data")) == 4
    assert browser.recv(100) == b"\x8a\x01?\x82\x04data"


def test_what_breaks_the_rules_fails_the_connection(joined: tuple[socket.socket, WebSocketStream]) -> None:
    browser, stream = joined
    read(stream)
    browser.sendall(b"\x82\x00")
    with pytest.raises(FramingError):
        read(stream)


def test_a_browser_that_reads_slowly_gets_every_byte_once(joined: tuple[socket.socket, WebSocketStream]) -> None:
    browser, stream = joined
    data = memoryview(os.urandom(3 << 20))
    browser.setblocking(False)
    received, written = bytearray(), 0
    while written < len(data):
        written += stream.write(data[written : written + (128 << 10)])
        try:
            received += browser.recv(50_000)
        except BlockingIOError:
            continue
    browser.settimeout(10)
    stream.end()
    while chunk := browser.recv(1 << 16):
        received += chunk
    assert unframed(bytes(received)) == bytes(data)


def unframed(sent: bytes) -> bytes:
    """Return the payload of binary frames from the server; the last frame closes the WebSocket."""
    payload, at = b"", 0
    while sent[at] == 0x82:
        size, header = sent[at + 1], 2
        if size == 126:
            size, header = int.from_bytes(sent[at + 2 : at + 4]), 4
        elif size == 127:
            size, header = int.from_bytes(sent[at + 2 : at + 10]), 10
        payload += sent[at + header : at + header + size]
        at += header + size
    assert sent[at] == 0x88
    assert sent[at + 2 : at + 4] == (4502).to_bytes(2)
    return payload


def test_it_knows_for_how_long_nobody_was_at_the_page(
    joined: tuple[socket.socket, WebSocketStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, stream = joined
    read(stream)
    now = 1e9
    monkeypatch.setattr("farhand_server.web.stream.time.monotonic", lambda: now)
    idle = stream.idle_for()
    browser.sendall(masked(b"\0\0\0\x16\1\0\0\0" + b'{"type":"ping","id":1}'))
    read(stream)
    assert stream.idle_for() == idle
    browser.sendall(masked(b"\0\0\0\x16\1\0\0\0" + b'{"type":"run"}'))
    read(stream)
    assert stream.idle_for() == 0
    stream.close_idle()
    stream.end()
    assert browser.recv(100)[2:4] == (4401).to_bytes(2)
