"""The edge's clients: who is let in, who has logged in, who is still there."""

from __future__ import annotations

import asyncio
import functools
import resource
import socket
import ssl
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, Final

from farhand_server.config import EdgeSettings
from farhand_server.listen.proxy import Endpoint
from farhand_server.logs import Logger

from .acceptor import Acceptor
from .connection import EdgeConnection, EdgeContext
from .limiter import ConnectionRefusal, Failure, Limiter, LogThrottle, Slot
from .login_verdicts import LoginVerdict, VerdictFeed
from .relay import HangupWatch

EDGE_DESCRIPTORS: Final = 64
"""Descriptors that are not clients': listening sockets (at most 64 addresses are configured, few ever are), the
loop's, the feed, and the standard three."""
LATE_VERDICT_GRACE: Final = 1.0
"""Seconds for which a client that the core has closed may yet be judged: the verdict was sent before the close, but
on another socket, which may be read later in the same turn of the loop."""


class Edge:
    """All of it but the process: `close_door`, then `gone`, then `abort` end it in order."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        core_socket: Path,
        context: ssl.SSLContext,
        settings: EdgeSettings,
        log: Logger,
    ) -> None:
        self.log: Final = log
        self.clients: Final[set[EdgeConnection]] = set()
        self.throttle: Final = LogThrottle(log, loop.time)
        self.feed: Final = VerdictFeed(core_socket, log, judged=self._judged, lost=self._feed_lost)
        settings = within_descriptors(settings, log)
        self._loop = loop
        self._limiter = Limiter(settings)
        self._by_id: dict[bytes, EdgeConnection] = {}
        self._empty = asyncio.Event()
        self._hangups = HangupWatch(loop)
        self._around = EdgeContext(
            loop, settings, context, self._hangups, self.throttle, core_socket, lambda: self.feed.connected
        )
        self._acceptor = Acceptor(loop, sockets, self._accepted, self.throttle)

    def open_door(self) -> None:
        """Accept clients from now on."""
        self._acceptor.start()

    def use(self, context: ssl.SSLContext, settings: EdgeSettings) -> None:
        """Use these for clients that come from now on."""
        settings = within_descriptors(settings, self.log)
        self._limiter.settings = settings
        self._around = replace(self._around, context=context, settings=settings)

    def close_door(self) -> None:
        """Accept no more, and end those who have not logged in."""
        self._acceptor.close()
        for client in tuple(self.clients):
            if client.slot.before_login:
                client.abort()

    async def gone(self) -> None:
        """Return once the last client has gone."""
        while self.clients:
            self._empty.clear()
            await self._empty.wait()

    def abort(self) -> None:
        """End whoever is left."""
        for client in tuple(self.clients):
            client.abort()
        self._hangups.close()

    def _accepted(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        try:
            source, destination = endpoint(peer), endpoint(sock.getsockname())
        except OSError:
            sock.close()
            return
        slot = self._limiter.admit(source[0], self._loop.time())
        if isinstance(slot, ConnectionRefusal):
            sock.close()
            self.throttle.warning("client refused", reason=slot.value, peer=str(source[0]))
            return
        client = EdgeConnection(
            self._around, slot, source, destination, penalise=self._penalise, gone=self._client_gone
        )
        self.clients.add(client)
        self._by_id[client.unique_id] = client
        client.start(sock)

    def _penalise(self, slot: Slot, failure: Failure) -> None:
        self._limiter.penalise(slot.source, failure, self._loop.time())

    def _judged(self, unique_id: bytes, verdict: LoginVerdict) -> None:
        client = self._by_id.get(unique_id)
        if client is None or not client.awaits_verdict:
            return
        client.judged(verdict)
        if verdict is LoginVerdict.LOGGED_IN:
            self._limiter.logged_in(client.slot)
        else:
            self._penalise(client.slot, Failure.REFUSED)

    def _feed_lost(self) -> None:
        # Verdicts may have been lost with it: those who might have logged in are not cut, nor counted as strangers.
        for client in tuple(self._by_id.values()):
            if client.awaits_verdict:
                client.excuse()
                self._limiter.logged_in(client.slot)

    def _client_gone(self, client: EdgeConnection) -> None:
        self.clients.discard(client)
        self._limiter.release(client.slot)
        if client.awaits_verdict:
            self._loop.call_later(LATE_VERDICT_GRACE, functools.partial(self._by_id.pop, client.unique_id, None))
        else:
            self._by_id.pop(client.unique_id, None)
        self._acceptor.room()
        if not self.clients:
            self._empty.set()


def endpoint(address: tuple[Any, ...]) -> Endpoint:
    """Return a sockaddr's address and port; an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) as IPv4."""
    parsed = ip_address(address[0].partition("%")[0])
    mapped = None if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped
    return (mapped or parsed, address[1])


def within_descriptors(settings: EdgeSettings, log: Logger) -> EdgeSettings:
    """Raise the limit on descriptors as far as it goes; return settings with no more connections than fit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # a sandbox may forbid it; the soft limit holds then
    room = max(1, (soft - EDGE_DESCRIPTORS) // 2)
    if soft == resource.RLIM_INFINITY or settings.connections <= room:
        return settings
    log.warning("fewer connections than configured: too few descriptors", connections=room, descriptors=soft)
    return settings.model_copy(update={"connections": room})
