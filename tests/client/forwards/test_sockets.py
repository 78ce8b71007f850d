"""A pair of sockets is connected with nobody else, and passes on how a connection ends."""

from __future__ import annotations

import asyncio
import socket

import pytest

from farhand_client.forwards import sockets
from farhand_client.forwards.sockets import connected_pair
from farhand_forwards.relay import reset_socket


async def test_both_ends_pass_bytes_and_the_end_of_them() -> None:
    loop = asyncio.get_running_loop()
    one, other = await connected_pair()
    with one, other:
        assert (one.getpeername(), other.getpeername()) == (other.getsockname(), one.getsockname())
        for sender, receiver in ((one, other), (other, one)):
            await loop.sock_sendall(sender, b"x")
            assert await loop.sock_recv(receiver, 10) == b"x"
        one.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(other, 10) == b""


async def test_a_reset_passes() -> None:
    one, other = await connected_pair()
    with other:
        reset_socket(one)
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(other, 10)


async def test_a_stranger_who_connects_first_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    strangers: list[socket.socket] = []

    async def connect_second(self: object, sock: socket.socket, address: tuple[str, int]) -> None:
        for _ in range(count):
            strangers.append(socket.create_connection(address))
        sock.setblocking(True)
        sock.connect(address)
        sock.setblocking(False)

    monkeypatch.setattr(type(loop), "sock_connect", connect_second)
    count = 1
    one, other = await connected_pair()
    with one, other:
        assert one.getpeername() == other.getsockname()
        assert strangers[0].recv(1) == b""
    monkeypatch.setattr(sockets, "MAX_STRANGERS", 1)
    with pytest.raises(OSError, match="other processes keep connecting"):
        await connected_pair()
    for stranger in strangers:
        stranger.close()
