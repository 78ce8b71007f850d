"""The edge's end of the verdict feed: the core's word on which clients have logged in.

A connection of its own to the core's socket for edges, which begins with a PROXY header with the command LOCAL.
Then the core writes records of 17 bytes: a unique id and a verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final, cast

from farhand_server.listen.proxy import UNIQUE_ID_SIZE, ProxyHeader, encode
from farhand_server.logs import Logger

VERDICT_SIZE: Final = UNIQUE_ID_SIZE + 1
FEED_MIN_RETRY_DELAY: Final = 0.05
"""Seconds before the feed is made again: a core that restarts is not away for longer, as a rule."""
FEED_MAX_RETRY_DELAY: Final = 1.0
"""Seconds between attempts at most. No client gets in without the feed, and one attempt costs nothing."""
FEED_STABLE_AFTER: Final = 5.0
"""Seconds after which a feed is taken to have worked; a core that takes and drops it at once is one that is away."""


class LoginVerdict(IntEnum):
    """What the core says of a client."""

    LOGGED_IN = 1
    REFUSED = 2


class VerdictFeed:
    """Holds the feed. `judged` hears every verdict; `lost` that a feed has ended, and with it verdicts may have."""

    def __init__(
        self, core_socket: Path, log: Logger, *, judged: Callable[[bytes, LoginVerdict], None], lost: Callable[[], None]
    ) -> None:
        self._core_socket = core_socket
        self._log = log
        self._judged = judged
        self._lost = lost
        self._connected = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the core is there."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Return once the core is there."""
        await self._connected.wait()

    async def hold_once(self) -> None:
        """Connect, and return when the feed has ended. Raises OSError where the core is not there."""
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_unix_connection(
            lambda: _Records(self._judged, self._log, gone), str(self._core_socket)
        )
        self._connected.set()
        self._log.info("the core is there", socket=str(self._core_socket))
        try:
            await gone
        finally:
            self._connected.clear()
            transport.abort()
            self._lost()

    async def hold(self) -> None:
        """Keep a feed, again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        retry = FEED_MIN_RETRY_DELAY
        told = False
        while True:
            began = loop.time()
            reason = "it has closed the verdict feed"
            try:
                await self.hold_once()
            except OSError as error:
                reason = error.strerror or type(error).__name__
            if loop.time() - began > FEED_STABLE_AFTER:
                retry, told = FEED_MIN_RETRY_DELAY, False
            if not told:
                self._log.warning("the core is away", socket=str(self._core_socket), reason=reason)
                told = True
            await asyncio.sleep(retry)
            retry = min(2 * retry, FEED_MAX_RETRY_DELAY)


class _Records(asyncio.Protocol):
    def __init__(self, judged: Callable[[bytes, LoginVerdict], None], log: Logger, gone: asyncio.Future[None]) -> None:
        self._judged = judged
        self._log = log
        self._gone = gone
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(encode(ProxyHeader(local=True)))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % VERDICT_SIZE
        for offset in range(0, whole, VERDICT_SIZE):
            try:
                verdict = LoginVerdict(data[offset + UNIQUE_ID_SIZE])
            except ValueError:
                self._log.error("verdict feed: not a verdict; core and edge are of different versions")
                self._transport.abort()
                return
            self._judged(data[offset : offset + UNIQUE_ID_SIZE], verdict)
        self._rest = data[whole:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
