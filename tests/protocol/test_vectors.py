"""Many buffers are written at once, and what the kernel does not accept is returned, exactly."""

from __future__ import annotations

import os
import socket

import pytest

from farhand_protocol.vectors import MAX_VECTORS, write_at_once


@pytest.mark.parametrize(
    "buffers",
    [
        [b"one"],
        [b"a header", b"x" * 10_000],
        [bytes([number]) * 200_000 for number in range(8)],
        [b"k"] * (MAX_VECTORS + 3),
    ],
)
def test_what_is_written_and_what_is_left_are_everything(buffers: list[bytes]) -> None:
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)
        rest = write_at_once(ours.fileno(), buffers)
        ours.close()
        read = b"".join(iter(lambda: peer.recv(1 << 16), b""))
        assert read + b"".join(rest) == b"".join(buffers)
        assert len(read) >= min(len(b"".join(buffers[:MAX_VECTORS])), 1 << 16)


def test_an_error_leaves_everything_to_the_next_write() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert write_at_once(writing, [b"a", b"b"]) == [b"a", b"b"]
    os.close(writing)
