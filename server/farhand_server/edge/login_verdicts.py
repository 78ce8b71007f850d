"""The edge's end of the verdict feed, on which the core reports which clients have logged in.

The feed is a separate connection to the core's socket for edges. The edge begins it with a PROXY header with the
command LOCAL. Then both sides write records (`listen.feed`): the core its verdicts, the key of tickets and heartbeats,
the edge which known sources it refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from farhand_server.listen.feed import (
    HEARTBEAT_INTERVAL,
    FromCore,
    FromEdge,
    RecordReader,
    encode_record,
    encode_source,
)
from farhand_server.listen.proxy import ProxyHeader, encode
from farhand_server.logs import Logger
from farhand_server.sources import Source

CORE_STALL_TIME: Final = 3 * HEARTBEAT_INTERVAL
"""Seconds without a record after which the core counts as standing still."""

REFUSED_REPORT_INTERVAL: Final = 5.0
"""Seconds between two reports that a source is refused. A client that cannot reconnect tries again after five seconds
at most."""

FEED_MIN_RETRY_DELAY: Final = 0.05
"""Seconds before the feed is first reopened: a restarting core is usually back by then."""

FEED_MAX_RETRY_DELAY: Final = 1.0
"""Maximum seconds between attempts: no client is served without the feed, and an attempt costs next to nothing."""

FEED_STABLE_AFTER: Final = 5.0
"""Seconds after which a feed counts as having worked. A core that closes it sooner counts as unavailable."""


class VerdictFeed:
    """Keeps the feed open. Calls `on_verdict` for each verdict, `on_ticket_key` with the key of tickets, and `on_lost`
    when a feed has ended, because verdicts may then have been lost."""

    def __init__(
        self,
        core_socket: Path,
        log: Logger,
        *,
        on_verdict: Callable[[bytes, bool], None],
        on_lost: Callable[[], None],
        on_ticket_key: Callable[[bytes], None] = lambda key: None,
    ) -> None:
        self._core_socket = core_socket
        self._log = log
        self._on_verdict = on_verdict
        self._on_lost = on_lost
        self._on_ticket_key = on_ticket_key
        self._protocol: _FeedProtocol | None = None
        self._last_record: float | None = None
        """When the core last wrote a record; None before its first heartbeat: an older core writes none."""
        self._stalled_until = 0.0
        self._reported: dict[Source, float] = {}
        self._connected = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the edge is connected to the core."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Return once the edge is connected to the core."""
        await self._connected.wait()

    def core_stood_still(self, since: float) -> bool:
        """Whether the core has stood still at any time since `since`, by the loop's clock."""
        if self._last_record is None:
            return False
        now = asyncio.get_running_loop().time()
        return now - self._last_record > CORE_STALL_TIME or self._stalled_until > since

    def report_refused(self, source: Source) -> None:
        """Report to the core that a source is refused, from which somebody has logged in before."""
        now = asyncio.get_running_loop().time()
        if self._protocol is None or now < self._reported.get(source, 0.0):
            return
        self._reported = {known: until for known, until in self._reported.items() if until > now}
        self._reported[source] = now + REFUSED_REPORT_INTERVAL
        self._protocol.write(encode_record(FromEdge.REFUSING, encode_source(source)))

    def _record_received(self, kind: FromCore, value: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if self._last_record is not None and now - self._last_record > CORE_STALL_TIME:
            self._stalled_until = now
        match kind:
            case FromCore.LOGGED_IN | FromCore.REFUSED:
                self._on_verdict(value, kind is FromCore.LOGGED_IN)
            case FromCore.TICKET_KEY:
                self._on_ticket_key(value)
            case FromCore.HEARTBEAT:
                self._last_record = now
        if self._last_record is not None:
            self._last_record = now

    async def run_once(self) -> None:
        """Connect, and return when the feed has ended. Raises OSError if the core cannot be reached."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        transport, self._protocol = await loop.create_unix_connection(
            lambda: _FeedProtocol(self._record_received, self._log, ended), str(self._core_socket)
        )
        self._connected.set()
        self._log.info("connected to the core", socket=str(self._core_socket))
        try:
            await ended
        finally:
            self._connected.clear()
            self._protocol, self._last_record = None, None
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
    def __init__(self, on_record: Callable[[FromCore, bytes], None], log: Logger, ended: asyncio.Future[None]) -> None:
        self._on_record = on_record
        self._log = log
        self._ended = ended
        self._records = RecordReader(FromCore)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # An older core ignores what follows the header.
        self._transport.write(encode(ProxyHeader(local=True)) + encode_record(FromEdge.READS_ALL))

    def write(self, record: bytes) -> None:
        # The core reads little and at once, so what it has not read is old, and there is no need to keep more.
        if self._transport.get_write_buffer_size() == 0:
            self._transport.write(record)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, value in self._records.read(data):
                self._on_record(kind, value)
        except ValueError:
            self._log.error("verdict feed: unknown record; core and edge have different versions")
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
