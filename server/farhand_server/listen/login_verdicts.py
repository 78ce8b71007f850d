"""The core's word to its edges on who has logged in: 17 bytes a client, on connections of their own.

A record is the client's unique id (16 bytes, from the PROXY header) and 1 for logged in or 2 for refused. An edge
parses no frames, and would not know otherwise whom to hold against its source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

LOGGED_IN: Final = b"\1"
REFUSED: Final = b"\2"


class VerdictFeeds:
    """The connections on which edges are told which of their clients have logged in, and which have failed."""

    def __init__(self) -> None:
        self._transports: set[asyncio.Transport] = set()

    def protocol(self, transport: asyncio.Transport) -> asyncio.Protocol:
        """Tell the edge at the other end of `transport` from now on; return the protocol for it."""
        self._transports.add(transport)
        return _Feed(transport, self._transports)

    def verdict(self, unique_id: bytes) -> Callable[[bool], None]:
        """Return the function that says, once, whether the client of this id has logged in."""
        said = False

        def say(logged_in: bool) -> None:
            nonlocal said
            if not said:
                said = True
                record = unique_id + (LOGGED_IN if logged_in else REFUSED)
                for transport in self._transports:
                    transport.write(record)

        return say

    def close(self) -> None:
        """Close the feeds: an edge started by this service ends with that."""
        for transport in self._transports:
            transport.close()


class _Feed(asyncio.Protocol):
    def __init__(self, transport: asyncio.Transport, transports: set[asyncio.Transport]) -> None:
        self._transport = transport
        self._transports = transports

    def pause_writing(self) -> None:
        # An edge that does not read its feed is stuck; it connects again if it lives.
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transports.discard(self._transport)
