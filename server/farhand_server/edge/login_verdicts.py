"""The edge's end of the verdict feed, on which the core reports which clients have logged in.

The feed is a separate connection to the core's socket for edges. The edge begins it with a PROXY header with the
command LOCAL. The core then writes records of 17 bytes: a connection's unique id, and a verdict.
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
"""Size of a record in bytes."""

FEED_MIN_RETRY_DELAY: Final = 0.05
"""Seconds before the feed is first reopened: a restarting core is usually back by then."""

FEED_MAX_RETRY_DELAY: Final = 1.0
"""Maximum seconds between attempts: no client is served without the feed, and an attempt costs next to nothing."""

FEED_STABLE_AFTER: Final = 5.0
"""Seconds after which a feed counts as having worked. A core that closes it sooner counts as unavailable."""


class LoginVerdict(IntEnum):
    """What the core reports about a client."""

    LOGGED_IN = 1
    REFUSED = 2


class VerdictFeed:
    """Keeps the feed open. Calls `on_verdict` for each verdict, and `on_lost` when a feed has ended, because verdicts
    may then have been lost."""

    def __init__(
        self,
        core_socket: Path,
        log: Logger,
        *,
        on_verdict: Callable[[bytes, LoginVerdict], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._core_socket = core_socket
        self._log = log
        self._on_verdict = on_verdict
        self._on_lost = on_lost
        self._connected = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the edge is connected to the core."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Return once the edge is connected to the core."""
        await self._connected.wait()

    async def run_once(self) -> None:
        """Connect, and return when the feed has ended. Raises OSError if the core cannot be reached."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_unix_connection(
            lambda: _FeedProtocol(self._on_verdict, self._log, ended), str(self._core_socket)
        )
        self._connected.set()
        self._log.info("connected to the core", socket=str(self._core_socket))
        try:
            await ended
        finally:
            self._connected.clear()
            transport.abort()
            self._on_lost()

    async def run(self) -> None:
        """Keep the feed open, reconnecting as often as needed, until cancelled."""
        loop = asyncio.get_running_loop()
        delay = FEED_MIN_RETRY_DELAY
        logged = False
        while True:
            began = loop.time()
            reason = "the core has closed the verdict feed"
            try:
                await self.run_once()
            except OSError as error:
                reason = error.strerror or type(error).__name__
            if loop.time() - began > FEED_STABLE_AFTER:
                delay, logged = FEED_MIN_RETRY_DELAY, False
            if not logged:
                self._log.warning("not connected to the core", socket=str(self._core_socket), reason=reason)
                logged = True
            await asyncio.sleep(delay)
            delay = min(2 * delay, FEED_MAX_RETRY_DELAY)


class _FeedProtocol(asyncio.Protocol):
    def __init__(
        self, on_verdict: Callable[[bytes, LoginVerdict], None], log: Logger, ended: asyncio.Future[None]
    ) -> None:
        self._on_verdict = on_verdict
        self._log = log
        self._ended = ended
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
                self._log.error("verdict feed: unknown verdict; core and edge have different versions")
                self._transport.abort()
                return
            self._on_verdict(data[offset : offset + UNIQUE_ID_SIZE], verdict)
        self._rest = data[whole:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
