"""Two pairs of streams are joined until both directions have ended."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from farhand_client.forwards.sockets import connected_pair
from farhand_client.forwards.splice import Streams, splice


async def streams() -> tuple[Streams, Streams]:
    """Return the streams of two ends that are connected with each other."""
    one, other = await connected_pair()
    return await asyncio.open_connection(sock=one), await asyncio.open_connection(sock=other)


async def test_bytes_and_ends_pass_in_both_directions() -> None:
    (near, near_end), (far, far_end) = await streams(), await streams()
    joined = asyncio.ensure_future(splice(near_end, far_end))
    near[1].write(b"a" * 100_000)
    near[1].write_eof()
    assert await far[0].read() == b"a" * 100_000
    far[1].write(b"b")
    far[1].write_eof()
    assert await near[0].read() == b"b"
    await joined
    for _, writer in (near, far):
        writer.close()
        await writer.wait_closed()


async def test_a_reset_of_one_resets_the_other() -> None:
    (near, near_end), (far, far_end) = await streams(), await streams()
    joined = asyncio.ensure_future(splice(near_end, far_end))
    far[1].write(b"x")
    assert await near[0].read(1) == b"x"
    near[1].write(b"unread")
    assert await far[0].read(6) == b"unread"
    sock = near[1].get_extra_info("socket")
    sock.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: a reset when it is closed
    near[1].transport.abort()
    with pytest.raises(ConnectionResetError):
        await joined
    with contextlib.suppress(ConnectionResetError):  # an abort of asyncio's may also look like an end
        assert await far[0].read() == b""
    far[1].close()


async def test_a_cancellation_ends_both() -> None:
    (near, near_end), (far, far_end) = await streams(), await streams()
    joined = asyncio.ensure_future(splice(near_end, far_end))
    await asyncio.sleep(0)
    joined.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joined
    for reader, writer in (near, far):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
