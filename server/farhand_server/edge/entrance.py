"""The way in: a connection is accepted, waits for its ClientHello, and gets a place before login or is refused."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address
from typing import Any

from farhand_protocol.tickets import shown_ticket
from farhand_server.config import EdgeSettings
from farhand_server.listen.proxy import Endpoint
from farhand_server.sources import Source
from farhand_server.throttle import LogThrottle
from farhand_server.tickets import Ticket, TicketKey

from .arrivals import MAX_ARRIVALS, Arrival, Arrivals
from .client_hello import offered_protocols
from .limiter import ConnectionRefusal, Limiter, Slot


class Entrance:
    """Decides which connections are admitted. `limiter` may be used directly once they are.

    `admitted` receives each admitted connection. `evict` closes one that must give up its place, and releases its slot.
    `refused` is called with a source that has logged in before and is refused now because of its debt. At most
    `max_arrivals` connections wait for their ClientHello.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: EdgeSettings,
        log: LogThrottle,
        *,
        admitted: Callable[[Arrival, Slot], None],
        evict: Callable[[Slot], None],
        refused: Callable[[Source], None],
        max_arrivals: int = MAX_ARRIVALS,
    ) -> None:
        self.limiter = Limiter(settings)
        self.ticket_key: TicketKey | None = None
        """Reads tickets; None until the core has reported it."""
        self._loop = loop
        self._log = log
        self._admitted = admitted
        self._evict = evict
        self._refused = refused
        self._arrivals = Arrivals(
            loop,
            lambda: self.limiter.settings.tls_deadline,
            arrived=self._arrived,
            failed=self._failed,
            limit=max_arrivals,
        )

    def accepted(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        """Take over an accepted, non-blocking socket."""
        try:
            source, destination = endpoint(peer), endpoint(sock.getsockname())
        except OSError:
            sock.close()
            return
        self._arrivals.add(sock, source, destination)

    def looked(self, empty: bool) -> None:
        """Take note of whether connections wait in the kernel's queue."""
        self.limiter.queue_seen(empty, self._loop.time())

    def close(self) -> None:
        """Close the connections that have no place yet."""
        self._arrivals.close()

    def _arrived(self, arrival: Arrival, first_bytes: bytes) -> None:
        now = self._loop.time()
        for slot in self.limiter.overdue(now):
            self._evict(slot)
        decision = self.limiter.admit(arrival.peer[0], now, self._ticket(first_bytes))
        if isinstance(decision, Slot):
            self._admitted(arrival, decision)
            return
        # Otherwise the client could not tell this from a port on which something else runs. It must not be told by a
        # reset instead, which closing a socket with unread bytes would send.
        with contextlib.suppress(OSError):
            arrival.sock.recv(1 << 16)
            arrival.sock.send(decision.alert)
        arrival.sock.close()
        self._log.warning("client refused", reason=decision.value, peer=str(arrival.peer[0]))
        if decision is ConnectionRefusal.PENALTY and self.limiter.has_logged_in(arrival.source):
            self._refused(arrival.source)

    def _ticket(self, first_bytes: bytes) -> Ticket | None:
        if self.ticket_key is None:
            return None
        ticket = shown_ticket(offered_protocols(first_bytes))
        return None if ticket is None else self.ticket_key.read(ticket, time.time())

    def _failed(self, arrival: Arrival, reason: str) -> None:
        self._log.warning("client closed", reason=reason, peer=str(arrival.peer[0]))
        self.limiter.charge(arrival.source, self.limiter.settings.penalty_no_login, self._loop.time())


def endpoint(address: tuple[Any, ...]) -> Endpoint:
    """Return a sockaddr's address and port; convert an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) to IPv4."""
    parsed = ip_address(address[0].partition("%")[0])
    mapped = None if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped
    return (mapped or parsed, address[1])
