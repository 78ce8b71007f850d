"""The edge's connections: admits them, records which have logged in, and knows which are still open."""

from __future__ import annotations

import asyncio
import functools
import resource
import socket
import ssl
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from farhand_server.acceptor import Acceptor
from farhand_server.config import EdgeSettings
from farhand_server.logs import Logger
from farhand_server.loopwatch import LoopWatch
from farhand_server.throttle import LogThrottle
from farhand_server.tickets import TicketKey

from .arrivals import MAX_ARRIVALS, Arrival
from .connection import EdgeConnection, EdgeContext
from .entrance import Entrance
from .limiter import Failure, Slot
from .login_verdicts import VerdictFeed
from .preliminary import BrowserEntry
from .relay import HangupWatch

EDGE_DESCRIPTORS: Final = 64
"""Descriptors not used by connections: listening sockets (at most 64 addresses are configured, usually one or two), the
event loop, the verdict feed and the standard three."""

ARRIVALS_PART: Final = 4
"""Connections that say nothing yet may use a quarter of the descriptors where these are few: under many silent
connections it is the wait that gets shorter, not the number of clients."""

LATE_VERDICT_GRACE: Final = 1.0
"""Seconds for which a verdict is still accepted on a connection that the core has closed. The core sent it before
closing, but on another socket, which the edge may read later in the same turn of the event loop."""


class Edge:
    """The edge, apart from its process.

    Call `start_accepting`. To shut down in order, call `stop_accepting`, await `wait_closed` for as long as connections
    may take to end, and call `abort`. Keep `verdict_feed.run` running all the while, and `watch` started.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        core_socket: Path,
        tls: ssl.SSLContext | None,
        settings: EdgeSettings,
        log: Logger,
        browsers: BrowserEntry | None = None,
    ) -> None:
        self.connections: Final[set[EdgeConnection]] = set()
        self.verdict_feed: Final = VerdictFeed(
            core_socket,
            log,
            on_verdict=self._verdict_received,
            on_lost=self._feed_lost,
            on_ticket_key=self._ticket_key_received,
        )
        self._log = log
        self._throttle = LogThrottle(log, loop.time)
        self.watch: Final = LoopWatch(log)
        descriptors = raise_descriptor_limit()
        settings = within_descriptors(settings, descriptors, log)
        self._loop = loop
        self._entrance = Entrance(
            loop,
            settings,
            self._throttle,
            admitted=self._admitted,
            evict=self._evict,
            refused=self.verdict_feed.report_refused,
            max_arrivals=max_arrivals(descriptors),
        )
        self.limiter: Final = self._entrance.limiter
        self._by_id: dict[bytes, EdgeConnection] = {}
        self._empty = asyncio.Event()
        self._hangups = HangupWatch(loop)
        self._by_slot: dict[Slot, EdgeConnection] = {}
        self._context = EdgeContext(
            loop,
            settings,
            tls,
            self._hangups,
            self._throttle,
            self.watch,
            core_socket,
            lambda: self.verdict_feed.connected,
            self.verdict_feed.core_stood_still,
            lambda slot: self.limiter.tls_done(slot, loop.time()),
            browsers,
        )
        self._acceptor = Acceptor(loop, sockets, self._accepted, self._throttle, self._entrance.looked)
        self._accepting = self.watch.turn("accept", {})

    def start_accepting(self) -> None:
        """Start accepting connections."""
        self._acceptor.start()

    def reconfigure(
        self, tls: ssl.SSLContext | None, settings: EdgeSettings, browsers: BrowserEntry | None = None
    ) -> None:
        """Apply a new TLS context and new settings to connections accepted from now on."""
        settings = within_descriptors(settings, raise_descriptor_limit(), self._log)
        self.limiter.settings = settings
        self._context = replace(self._context, tls=tls, settings=settings, browsers=browsers)

    def stop_accepting(self) -> None:
        """Stop accepting, and close the connections that have not logged in."""
        self._acceptor.close()
        self._entrance.close()
        for connection in tuple(self.connections):
            if connection.slot.before_login:
                connection.abort()

    async def wait_closed(self) -> None:
        """Return once the last connection has ended."""
        while self.connections:
            self._empty.clear()
            await self._empty.wait()

    def abort(self) -> None:
        """Close all remaining connections at once."""
        for connection in tuple(self.connections):
            connection.abort()
        self._hangups.close()

    def _accepted(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        with self._accepting:
            self._entrance.accepted(sock, peer)

    def _admitted(self, arrival: Arrival, slot: Slot) -> None:
        connection = EdgeConnection(
            self._context,
            slot,
            arrival.peer,
            arrival.local,
            on_failure=self._penalise,
            on_closed=self._connection_closed,
        )
        self.connections.add(connection)
        self._by_id[connection.unique_id] = self._by_slot[slot] = connection
        connection.start(arrival.sock)

    def _evict(self, slot: Slot) -> None:
        self._by_slot[slot].evict()

    def _penalise(self, slot: Slot, failure: Failure) -> None:
        self.limiter.penalise(slot, failure, self._loop.time())

    def _verdict_received(self, unique_id: bytes, logged_in: bool) -> None:
        connection = self._by_id.get(unique_id)
        if connection is None or not connection.awaits_verdict:
            return
        connection.receive_verdict(logged_in)
        if logged_in:
            self.limiter.logged_in(connection.slot)
        else:
            self._penalise(connection.slot, Failure.REFUSED)

    def _ticket_key_received(self, key: bytes) -> None:
        self._entrance.ticket_key = TicketKey(key)

    def _feed_lost(self) -> None:
        # Verdicts may have been lost with the feed. A connection that may have logged in must be neither closed nor
        # counted.
        for connection in tuple(self._by_id.values()):
            if connection.awaits_verdict:
                connection.assume_login()
                self.limiter.logged_in(connection.slot)

    def _connection_closed(self, connection: EdgeConnection) -> None:
        self.connections.discard(connection)
        self._by_slot.pop(connection.slot, None)
        self.limiter.release(connection.slot)
        if connection.awaits_verdict:
            forget = functools.partial(self._by_id.pop, connection.unique_id, None)
            self._loop.call_later(LATE_VERDICT_GRACE, forget)
        else:
            self._by_id.pop(connection.unique_id, None)
        self._acceptor.resume()
        if not self.connections:
            self._empty.set()


def raise_descriptor_limit() -> int:
    """Raise the limit on descriptors as far as possible, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # a sandbox may forbid it; then the soft limit applies
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def max_arrivals(descriptors: int) -> int:
    """Return how many connections may wait for their ClientHello with so many descriptors."""
    return max(1, min(MAX_ARRIVALS, descriptors // ARRIVALS_PART))


def within_descriptors(settings: EdgeSettings, descriptors: int, log: Logger) -> EdgeSettings:
    """Return the settings with no more connections than so many descriptors allow."""
    room = max(1, (descriptors - EDGE_DESCRIPTORS - max_arrivals(descriptors)) // 2)
    if settings.connections <= room:
        return settings
    log.warning("fewer connections than configured: too few descriptors", connections=room, descriptors=descriptors)
    return settings.model_copy(update={"connections": room})
