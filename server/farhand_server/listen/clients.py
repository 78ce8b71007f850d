"""Identifies the peers of new connections on the core's two sockets, and starts their sessions.

On the local socket the kernel names the peer. On the edges' socket each connection begins with a PROXY protocol header,
in which the edge announces its client; all following bytes come from the client.

An edge parses no frames, so it cannot see which of its clients log in. The core reports that on separate connections,
the verdict feeds.
"""

from __future__ import annotations

import asyncio
from sys import intern
from typing import cast

from farhand_protocol.transport import ConnectionTransport

from ..admission.caller import Caller
from ..connection.context import SessionContext
from ..connection.session import ServerSession
from ..logs import Logger
from .feeds import VerdictFeeds
from .proxy import MAX_HEADER, ProxyError, ProxyHeader, parse
from .unix import enlarge_buffer


class LocalConnection(asyncio.Protocol):
    """A connection on the local socket that the gate has admitted. The client needs no key, because the kernel tells
    which account it runs as; the gate has looked it up.
    """

    def __init__(self, context: SessionContext, log: Logger, caller: Caller) -> None:
        self._context = context
        self._log = log
        self._caller = caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the session."""
        _serve(ServerSession(self._context, self._log, local=self._caller), transport)


class ProxiedConnection(asyncio.Protocol):
    """A connection on the edges' socket, until the edge's PROXY header is complete.

    After the header it becomes the connection of a client, which must log in, or, with the command LOCAL, a feed that
    reports logins to the edge.
    """

    def __init__(self, context: SessionContext, log: Logger, feeds: VerdictFeeds) -> None:
        self._context = context
        self._log = log
        self._feeds = feeds
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time limit for the header."""
        self._transport = cast(asyncio.Transport, transport)
        self._deadline = asyncio.get_running_loop().call_later(
            self._context.config.login.deadline, self._transport.abort
        )

    def data_received(self, data: bytes) -> None:
        """Collect the bytes of the header."""
        assert self._transport is not None
        self._received += data
        try:
            parsed = parse(self._received)
        except ProxyError as error:
            self._log.error("edge refused: bad PROXY header", reason=str(error))
            self._transport.abort()
            return
        if parsed is not None:
            header, size = parsed
            self._header_received(self._transport, header, bytes(self._received[size:]))
        elif len(self._received) > MAX_HEADER:
            self._transport.abort()

    def _header_received(self, transport: asyncio.Transport, header: ProxyHeader, rest: bytes) -> None:
        self._cancel_deadline()
        if header.local:
            transport.set_protocol(self._feeds.protocol(transport, rest))
            return
        address, peer, arrival, log = None, None, None, self._log
        if header.source is not None:
            address, port = header.source
            peer = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
            log = log.bind(peer=peer)
        if header.destination is not None:
            own, port = header.destination
            arrival = intern(f"{own} {port}")  # the same for nearly all connections
        # A client that comes while the service stops has failed at nothing, so the edge must not penalise it.
        judged = header.unique_id is not None and not self._context.stopping
        report = self._feeds.verdict(header.unique_id) if judged and header.unique_id else None
        session = ServerSession(
            self._context, log, address=address, peer=peer, arrival=arrival, report=report, web=header.web
        )
        carrier = _serve(session, transport)
        if rest:
            carrier.feed(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit."""
        self._cancel_deadline()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _serve(session: ServerSession, transport: asyncio.BaseTransport) -> ConnectionTransport:
    """Hand the transport over to a session."""
    enlarge_buffer(transport)
    carrier = ConnectionTransport(session.connection, session)
    transport.set_protocol(carrier)
    carrier.connection_made(transport)
    return carrier
