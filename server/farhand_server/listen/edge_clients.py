"""Clients behind an edge: each connection begins with the edge's word on who is at the other end."""

from __future__ import annotations

import asyncio
from typing import cast

from farhand_protocol.transport import ConnectionTransport

from ..connection.context import Core
from ..connection.session import ServerSession
from ..logs import Logger
from .login_verdicts import VerdictFeeds
from .proxy import MAX_HEADER, ProxyError, ProxyHeader, parse
from .unix import enlarge, peer_uid


class ProxiedConnection(asyncio.Protocol):
    """What an edge sends first on a connection: a PROXY protocol v2 header. Then it is a client's connection, or,
    with the command LOCAL, the feed on which the edge is told of logins."""

    def __init__(self, core: Core, log: Logger, feeds: VerdictFeeds) -> None:
        self._core = core
        self._log = log
        self._feeds = feeds
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.BaseProtocol."""
        self._transport = cast(asyncio.Transport, transport)
        uid = peer_uid(transport)
        if uid not in (self._core.config.edge.account, 0):
            self._log.warning("edge refused: not the edge's account", uid=uid)
            self._transport.abort()
            return
        self._deadline = asyncio.get_running_loop().call_later(self._core.config.login.deadline, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
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
            self._announced(self._transport, header, bytes(self._received[size:]))
        elif len(self._received) > MAX_HEADER:
            self._transport.abort()

    def _announced(self, transport: asyncio.Transport, header: ProxyHeader, rest: bytes) -> None:
        self._cancel_deadline()
        if header.local:
            transport.set_protocol(self._feeds.protocol(transport))
            return
        address, peer, log = None, None, self._log
        if header.source is not None:
            address, port = header.source
            peer = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
            log = log.bind(peer=peer)
        verdict = self._feeds.verdict(header.unique_id) if header.unique_id else None
        enlarge(transport)
        session = ServerSession(self._core, log, address=address, peer=peer, verdict=verdict)
        link = ConnectionTransport(session.connection, session)
        transport.set_protocol(link)
        link.connection_made(transport)
        if rest:
            link.feed(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio.BaseProtocol."""
        self._cancel_deadline()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
