"""A plain stream reads and writes what the socket takes, and never blocks."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from farhand_server.edge.streams import PlainStream

BUFFER = memoryview(bytearray(1 << 16))


@pytest.fixture
def joined() -> Iterator[tuple[socket.socket, PlainStream]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stream = PlainStream(theirs)
    yield ours, stream
    ours.close()
    stream.close()


def test_available_bytes_are_read_and_counted(joined: tuple[socket.socket, PlainStream]) -> None:
    peer, stream = joined
    assert stream.read_into(BUFFER) is None
    peer.sendall(b"bytes")
    assert stream.read_into(BUFFER) == 5
    assert bytes(BUFFER[:5]) == b"bytes"
    assert stream.received == 5
    assert not stream.has_more()
    peer.close()
    assert stream.read_into(BUFFER) == 0


def test_as_much_is_written_as_the_socket_takes(joined: tuple[socket.socket, PlainStream]) -> None:
    peer, stream = joined
    written = 0
    while size := stream.write(BUFFER):
        written += size
    received = 0
    while received < written:
        received += len(peer.recv(1 << 16))
    assert stream.write(BUFFER[:3]) == 3


def test_a_pending_error_is_cleared_so_that_received_bytes_can_be_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        sock, _ = listening.accept()
        stream = PlainStream(sock)
        peer.sendall(b"last")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        stream.clear_error()
        assert stream.read_into(BUFFER) in (4, 0)  # a reset discards what was not read
        stream.close()
