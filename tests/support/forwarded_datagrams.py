"""A UDP listener whose datagrams go through a tunnel to a socket of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from farhand_forwards.accepting import Connected
from farhand_forwards.datagram_listener import DatagramListener
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import InetTarget
from tests.support.joined_tunnel import JoinedTunnel, joined_tunnel


def datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def target_of(sock: socket.socket) -> InetTarget:
    return InetTarget("127.0.0.1", sock.getsockname()[1], "udp")


async def received(sock: socket.socket) -> bytes:
    async with asyncio.timeout(20):
        return await asyncio.get_running_loop().sock_recv(sock, 1 << 16)


class Forwarded:
    """A UDP listener here that leads to `target` there."""

    def __init__(self, tunnel: JoinedTunnel, target: socket.socket) -> None:
        self.tunnel = tunnel
        self.target = target
        self.listener: Any = None

    async def accepted(self, connected: Connected, origin: str) -> None:
        await self.tunnel.client.begin(target_of(self.target), origin).relay(connected)

    def client(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect((self.listener.address.host, self.listener.address.port))
        return sock


@asynccontextmanager
async def forwarded() -> AsyncIterator[Forwarded]:
    async with joined_tunnel() as tunnel, asyncio.timeout(60):
        with datagram_socket() as target:
            made = Forwarded(tunnel, target)
            made.listener = await listen_at(InetTarget("", 0, "udp"), made.accepted)
            assert isinstance(made.listener, DatagramListener)
            yield made
            made.listener.close()
