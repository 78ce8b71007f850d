"""Connections that have not logged in: everybody on this machine can make some, so only so many stay."""

from __future__ import annotations

import asyncio
from typing import Final

from websockets.asyncio.server import ServerConnection

MAX_UNKNOWN_CONNECTIONS: Final = 64
"""Connections at once that are no WebSocket of a session. A browser has six of them (its limit for one place), so this
is enough for ten that load the page at the same moment, and few of the 1024 descriptors that a process has."""


class Strangers:
    """The connections that are no WebSocket of a session. If there are too many, the oldest goes: a browser asks at
    once, and has long had its answer when others fill the place."""

    def __init__(self, most: int = MAX_UNKNOWN_CONNECTIONS) -> None:
        self._most = most
        self._connections: dict[ServerConnection, None] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: ServerConnection) -> None:
        """Add a connection that was made just now, and cut the oldest if need be."""
        while len(self._connections) >= self._most:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.transport.abort()
        self._connections[connection] = None

    def remove(self, connection: ServerConnection) -> None:
        """A connection has ended, or belongs to a session now. Safe to call again."""
        self._connections.pop(connection, None)


def stranger_connection(strangers: Strangers) -> type[ServerConnection]:
    """Return a class of connections that count as strangers from their beginning to their end."""

    class StrangerConnection(ServerConnection):
        """A connection, counted."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            strangers.add(self)

        def connection_lost(self, exc: Exception | None) -> None:
            strangers.remove(self)
            super().connection_lost(exc)

    return StrangerConnection
