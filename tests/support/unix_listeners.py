"""What tests of Unix listeners share: who accepts, who connects, and the modes of files."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

from farhand_server.listen.unix import Admit


class Accepted(asyncio.Protocol):
    """Counts the connections of a listener."""

    def __init__(self, connections: list[asyncio.BaseTransport]) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.append(transport)
        transport.close()


def accepting(connections: list[asyncio.BaseTransport]) -> Admit:
    """Return what a listener calls for each connection, to add its transport to `connections`."""
    return lambda sock, uid, serve: serve(sock, Accepted(connections))


async def served(client: socket.socket) -> bool:
    """Wait until the service has accepted and closed a connection."""
    client.setblocking(False)
    async with asyncio.timeout(20):
        return await asyncio.get_running_loop().sock_recv(client, 1) == b""


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)
