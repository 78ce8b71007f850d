"""The core's end of the verdict feeds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..sources import Source
from ..tickets import TicketKey
from .feed import HEARTBEAT_INTERVAL, FromCore, FromEdge, RecordReader, decode_source, encode_record


class VerdictFeeds:
    """The connections on which the core tells edges which of their clients have logged in and which were refused.

    Edges learn the `ticket_key` from them. `on_refusing` is called with a source that an edge refuses because of its
    debt, and from which somebody has logged in before.
    """

    def __init__(
        self,
        ticket_key: TicketKey | None = None,
        on_refusing: Callable[[Source], None] = lambda source: None,
    ) -> None:
        self._ticket_key = ticket_key
        self._on_refusing = on_refusing
        self._feeds: set[_Feed] = set()
        self._heartbeat: asyncio.TimerHandle | None = None

    def protocol(self, transport: asyncio.Transport, received: bytes = b"") -> asyncio.Protocol:
        """Start sending verdicts to the edge at the other end of `transport`, and return the protocol for that
        transport. `received` is what the edge has sent after its header."""
        feed = _Feed(transport, self._received, self._feeds.discard)
        self._feeds.add(feed)
        feed.data_received(received)
        return feed

    def verdict(self, unique_id: bytes) -> Callable[[bool], None]:
        """Return a function that reports whether the client with this id has logged in. Calls after the first do
        nothing."""
        reported = False

        def report(logged_in: bool) -> None:
            nonlocal reported
            if not reported:
                reported = True
                record = encode_record(FromCore.LOGGED_IN if logged_in else FromCore.REFUSED, unique_id)
                for feed in self._feeds:
                    feed.transport.write(record)

        return report

    def close(self) -> None:
        """Close the feeds. An edge that this service has started then exits."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        for feed in self._feeds:
            feed.transport.close()

    def _received(self, feed: _Feed, kind: FromEdge, value: bytes) -> None:
        match kind:
            case FromEdge.READS_ALL if not feed.reads_all:
                feed.reads_all = True
                if self._ticket_key is not None:
                    feed.transport.write(encode_record(FromCore.TICKET_KEY, self._ticket_key.key))
                if self._heartbeat is None:
                    self._beat()
                else:
                    feed.transport.write(encode_record(FromCore.HEARTBEAT))
            case FromEdge.REFUSING:
                self._on_refusing(decode_source(value))

    def _beat(self) -> None:
        """Write heartbeats, as long as an edge reads them."""
        readers = [feed for feed in self._feeds if feed.reads_all]
        for feed in readers:
            feed.transport.write(encode_record(FromCore.HEARTBEAT))
        loop = asyncio.get_running_loop()
        self._heartbeat = loop.call_later(HEARTBEAT_INTERVAL, self._beat) if readers else None


class _Feed(asyncio.Protocol):
    def __init__(
        self,
        transport: asyncio.Transport,
        received: Callable[[_Feed, FromEdge, bytes], None],
        lost: Callable[[_Feed], None],
    ) -> None:
        self.transport = transport
        self.reads_all = False
        self._received = received
        self._lost = lost
        self._records = RecordReader(FromEdge)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, value in self._records.read(data):
                self._received(self, kind, value)
        except ValueError:
            self.transport.abort()  # an edge of another version; it connects again

    def pause_writing(self) -> None:
        # An edge that does not read its feed is stuck. It reconnects if it recovers.
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)
