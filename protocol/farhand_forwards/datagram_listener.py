"""Receives datagrams (UDP), and gives each peer a flow of its own that ends when nothing is sent for a while."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final

from .accepting import Accepted, Serving
from .datagrams import DATAGRAM_BATCH, MAX_RECEIVED_DATAGRAM, DatagramPeer
from .targets import ForwardTarget, InetTarget

PEER_IDLE_TIMEOUT: Final = 60.0
"""Seconds without a datagram, in either direction, after which a peer is forgotten: twice the shortest time that RFC
4787 (section 4.3) lets a NAT forget one."""

REFUSED_PEER_DELAY: Final = 1.0
"""Seconds from the beginning of a flow that has ended until its peer gets another one: a program may send thousands of
datagrams a second to a target that is refused."""

MAX_PEERS: Final = 1024
"""Peers of one listener at once; for another one, the one that was idle for the longest time is forgotten."""


class _Known:
    """A peer, and when it was last active."""

    __slots__ = ("active", "began", "peer")

    def __init__(self, peer: DatagramPeer, now: float) -> None:
        self.peer = peer
        self.active = self.began = now


class DatagramListener:
    """Receives datagrams on sockets, and calls `accepted` with each new peer."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        address: ForwardTarget,
        accepted: Accepted,
        *,
        idle_timeout: float = PEER_IDLE_TIMEOUT,
    ) -> None:
        self.address: Final = address
        self.dropped = 0
        """Datagrams dropped because a flow did not take them."""
        self._sockets = sockets
        self._idle_timeout = idle_timeout
        self._loop = asyncio.get_running_loop()
        self._serving = Serving(accepted)
        self._peers: dict[tuple[int, Any], _Known] = {}
        """By socket and address, the one that was idle for the longest time first."""
        self._expiry: asyncio.TimerHandle | None = None
        self._open = True
        for sock in sockets:
            self._loop.add_reader(sock.fileno(), self._readable, sock)

    def close(self) -> None:
        """Stop receiving, and forget all peers: nothing could be sent to them."""
        if self._open:
            self._open = False
            if self._expiry is not None:
                self._expiry.cancel()
            for sock in self._sockets:
                self._loop.remove_reader(sock.fileno())
                sock.close()
            for known in self._peers.values():
                known.peer.close()
            self._peers.clear()

    def _readable(self, sock: socket.socket) -> None:
        now = self._loop.time()
        number = sock.fileno()
        before: Any = None
        for _ in range(DATAGRAM_BATCH):
            try:
                data, address = sock.recvfrom(MAX_RECEIVED_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # a peer that is gone (ICMP)
            if address != before:
                before, known = address, self._known(sock, (number, address), now)
            if not known.peer.came(data):
                self.dropped += 1

    def _known(self, sock: socket.socket, key: tuple[int, Any], now: float) -> _Known:
        """Return a peer that is active now, a new one if need be."""
        known = self._peers.pop(key, None)
        if known is None or (known.peer.done.done() and now - known.began >= REFUSED_PEER_DELAY):
            known = self._add(sock, key[1])
        known.active = now
        self._peers[key] = known
        return known

    def _add(self, sock: socket.socket, address: Any) -> _Known:
        if len(self._peers) >= MAX_PEERS:
            self._peers.pop(next(iter(self._peers))).peer.close()
        known = _Known(DatagramPeer(lambda data: self._send(sock, address, data)), self._loop.time())
        self._serving.start(known.peer, str(InetTarget(address[0], address[1], "udp")))
        if self._expiry is None:
            self._expiry = self._loop.call_later(self._idle_timeout, self._expire)
        return known

    def _send(self, sock: socket.socket, address: Any, data: bytes) -> None:
        key = (sock.fileno(), address)
        known = self._peers.pop(key, None)
        if known is not None:
            known.active = self._loop.time()
            self._peers[key] = known
            try:  # noqa: SIM105  # `suppress` costs a microsecond, for each datagram
                sock.sendto(data, address)
            except OSError:
                pass  # dropped, as the network would

    def _expire(self) -> None:
        """Forget who was idle for too long, and wait for the next one."""
        self._expiry = None
        now = self._loop.time()
        while self._peers:
            key = next(iter(self._peers))
            known = self._peers[key]
            left = known.active + self._idle_timeout - now
            if left > 0 and not known.peer.done.done():
                self._expiry = self._loop.call_later(left, self._expire)
                return
            del self._peers[key]
            known.peer.close()
