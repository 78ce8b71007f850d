"""UDP ASSOCIATE of SOCKS5: a port here, from which a program's datagrams reach the targets that each of them names."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from farhand_client.errors import FarhandError
from farhand_forwards.datagram_listener import REFUSED_PEER_DELAY
from farhand_forwards.datagrams import DatagramPeer
from farhand_forwards.targets import ForwardRefused, InetTarget

from .socket_owner import datagram_owners, stream_owner
from .socks import SocksDatagram, SocksRequest, datagram_from

if TYPE_CHECKING:
    from .client_tunnel import ClientTunnel

MAX_SOCKS_DESTINATIONS: Final = 256
"""Targets of one association at once; for a further one, that which was not sent to for the longest time is given up.
A resolver or a peer-to-peer program has some dozens."""

SOCKS_IDLE_TIMEOUT: Final = 60.0
"""Seconds without a datagram, in either direction, after which a target is given up, as for other forwards of UDP."""


async def relay_datagrams(
    control: socket.socket, request: SocksRequest, tunnel: ClientTunnel, origin: str, purpose: str
) -> None:
    """Serve an association until its control connection ends, which must not block. Raises OSError."""
    loop = asyncio.get_running_loop()
    local, peer = control.getsockname(), control.getpeername()
    owner = None
    if not request.port and ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback:
        # In a thread: the list is long where there are many connections.
        owner = await asyncio.to_thread(stream_owner, peer[:2], local[:2])
    transport, association = await loop.create_datagram_endpoint(
        partial(Association, tunnel, peer[0], request.port, owner, origin, purpose),
        local_addr=(local[0], 0),
        family=control.family,
    )
    try:
        await loop.sock_sendall(control, request.answer("granted", transport.get_extra_info("sockname")[:2]))
        while await loop.sock_recv(control, 1024):
            pass  # nothing has a meaning here, but for the end
    finally:
        transport.close()
        await association.close()


class _Destination:
    """A target of an association, and when it was last used."""

    def __init__(self, peer: DatagramPeer, now: float) -> None:
        self.peer = peer
        self.used = self.began = now


class Association(asyncio.DatagramProtocol):
    """The port of an association. It serves the host of the control connection alone: there, the port that the request
    names, or else the first that sends. If the control connection's user is known, the `owner`, it must be theirs."""

    def __init__(
        self, tunnel: ClientTunnel, host: str, port: int, owner: int | None, origin: str, purpose: str
    ) -> None:
        self._tunnel = tunnel
        self._host = host
        self._port = port
        self._owner = owner
        self._origin = origin
        self._purpose = purpose
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._program: Any = None
        """The address of the program, once it is known."""
        self._destinations: dict[InetTarget, _Destination] = {}
        """The one that was not used for the longest time first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to send answers."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # not by its class, in asyncio and uvloop

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Send a program's datagram on."""
        if self._program is None and self._is_program(addr):
            self._program = addr
        datagram = datagram_from(data) if addr == self._program else None
        if datagram is None:
            return
        target = InetTarget(datagram.host, datagram.port, "udp")
        now = self._loop.time()
        destination = self._destinations.pop(target, None)
        if destination is None or (destination.peer.done.done() and now - destination.began >= REFUSED_PEER_DELAY):
            destination = self._add(target)
        destination.used = now
        self._destinations[target] = destination
        destination.peer.came(datagram.data)

    def _is_program(self, address: Any) -> bool:
        if address[0] != self._host or self._port not in (0, address[1]):
            return False
        return self._owner is None or self._owner in datagram_owners(address[:2])

    def error_received(self, exc: Exception) -> None:
        """Do nothing: the program does not listen now, perhaps later."""

    async def close(self) -> None:
        """Give up all targets."""
        if self._expiry is not None:
            self._expiry.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _add(self, target: InetTarget) -> _Destination:
        if len(self._destinations) >= MAX_SOCKS_DESTINATIONS:
            self._destinations.pop(next(iter(self._destinations))).peer.close()
        destination = _Destination(DatagramPeer(partial(self._answer, target)), self._loop.time())
        task = self._loop.create_task(self._relay(target, destination.peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._expiry is None:
            self._expiry = self._loop.call_later(SOCKS_IDLE_TIMEOUT, self._expire)
        return destination

    async def _relay(self, target: InetTarget, peer: DatagramPeer) -> None:
        with contextlib.suppress(ForwardRefused, FarhandError, OSError):  # dropped, as the network would
            try:
                await self._tunnel.begin(target, self._origin, self._purpose).relay(peer)
            finally:
                peer.close()

    def _answer(self, target: InetTarget, data: bytes) -> None:
        destination = self._destinations.pop(target, None)
        if destination is not None and self._transport is not None:
            destination.used = self._loop.time()
            self._destinations[target] = destination
            self._transport.sendto(SocksDatagram(target.host, target.port, data).encoded(), self._program)

    def _expire(self) -> None:
        """Give up targets that were not used for too long, and wait for the next one."""
        self._expiry = None
        while self._destinations:
            target, destination = next(iter(self._destinations.items()))
            left = destination.used + SOCKS_IDLE_TIMEOUT - self._loop.time()
            if left > 0:
                self._expiry = self._loop.call_later(left, self._expire)
                return
            del self._destinations[target]
            destination.peer.close()
