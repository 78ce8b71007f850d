"""The connections whose ClientHello has not arrived: they are accepted, but have no place before login yet.

A client sends its ClientHello together with the last packet of TCP's handshake, or right after it, so a connection that
says nothing is most likely not a client's. Here it costs a descriptor, and when there are many, the one that has waited
longest is closed for the next. The bytes are only looked at (MSG_PEEK, recv(2)): TLS reads them again from the socket.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from farhand_server.listen.proxy import Endpoint
from farhand_server.sources import Source, source_of

from .client_hello import MAX_CLIENT_HELLO, expected_size

MAX_ARRIVALS: Final = 1024
"""Connections that wait at once, with one descriptor each. Under 100,000 silent ones a minute, each has 0.6 s for its
first bytes."""

ARRIVALS_DIVISOR: Final = 4
"""One source may have a quarter of them, so that others need not give way to it."""


@dataclass(slots=True, eq=False)
class Arrival:
    """A connection that was accepted."""

    sock: socket.socket
    peer: Endpoint
    local: Endpoint
    source: Source
    since: float
    expected: int = 1
    """Bytes for which the kernel wakes us (SO_RCVLOWAT, socket(7))."""


class Arrivals:
    """Calls `arrived` with a connection and its first bytes, and `failed` with one that has ended, was too slow, or had
    to make room for another. The latter is closed already; the former belongs to the callee. At most `limit` wait.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline: Callable[[], float],
        *,
        arrived: Callable[[Arrival, bytes], None],
        failed: Callable[[Arrival, str], None],
        limit: int = MAX_ARRIVALS,
    ) -> None:
        self._limit = limit
        self._loop = loop
        self._deadline = deadline
        self._arrived = arrived
        self._failed = failed
        self._waiting: dict[Arrival, None] = {}
        self._by_source: dict[Source, dict[Arrival, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, sock: socket.socket, peer: Endpoint, local: Endpoint) -> None:
        """Take over an accepted, non-blocking socket. Raises OSError if the kernel is short of memory for it."""
        arrival = Arrival(sock, peer, local, source_of(peer[0]), self._loop.time())
        if self._look(arrival):
            return
        of_source = self._by_source.get(arrival.source, {})
        if len(of_source) >= max(1, self._limit // ARRIVALS_DIVISOR):
            self._give_up(next(iter(of_source)), "no TLS handshake yet, and too many others from this source")
        elif len(self._waiting) >= self._limit:
            self._give_up(next(iter(self._waiting)), "no TLS handshake yet, and too many others")
        self._loop.add_reader(sock.fileno(), self._readable, arrival)  # first, because it may fail
        self._waiting[arrival] = None
        self._by_source.setdefault(arrival.source, {})[arrival] = None
        if self._timer is None:
            self._schedule()

    def close(self) -> None:
        """Close all connections that wait."""
        for arrival in tuple(self._waiting):
            self._remove(arrival)
            arrival.sock.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _readable(self, arrival: Arrival) -> None:
        if arrival in self._waiting:
            self._look(arrival)

    def _look(self, arrival: Arrival) -> bool:
        """Look at the first bytes; return whether the connection need not wait any longer."""
        try:
            data = arrival.sock.recv(MAX_CLIENT_HELLO, socket.MSG_PEEK)
            expected = expected_size(data)
            # The kernel wakes us for fewer bytes at the stream's end, or when it is short of memory.
            if data and len(data) < expected and expected != arrival.expected:
                arrival.expected = expected
                arrival.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, expected)
                return False
            if data and arrival.expected != 1:
                arrival.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._remove(arrival)
        if data:
            self._arrived(arrival, data)
        else:
            arrival.sock.close()
            self._failed(arrival, "ended before the TLS handshake")
        return True

    def _give_up(self, arrival: Arrival, reason: str) -> None:
        self._remove(arrival)
        arrival.sock.close()
        self._failed(arrival, reason)

    def _remove(self, arrival: Arrival) -> None:
        if arrival not in self._waiting:
            return
        del self._waiting[arrival]
        self._loop.remove_reader(arrival.sock.fileno())
        of_source = self._by_source[arrival.source]
        del of_source[arrival]
        if not of_source:
            del self._by_source[arrival.source]

    def _schedule(self) -> None:
        # They have the same deadline, so only the first one needs a timer.
        first = next(iter(self._waiting), None)
        self._timer = None
        if first is not None:
            self._timer = self._loop.call_at(first.since + self._deadline(), self._check_deadline)

    def _check_deadline(self) -> None:
        latest = self._loop.time() - self._deadline()
        while (first := next(iter(self._waiting), None)) is not None and first.since <= latest:
            self._give_up(first, "TLS deadline")
        self._schedule()
