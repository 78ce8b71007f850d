"""Listens at TCP addresses and Unix sockets, and accepts connections whatever happens."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from .accepting import Accepted, LocalListener, Serving
from .datagram_listener import DatagramListener
from .targets import ForwardCause, ForwardRefused, ForwardTarget, InetTarget, UnixTarget
from .unix_sockets import LISTEN_BACKLOG, UnixPlace

FORWARD_ACCEPT_BATCH: Final = 16
"""Connections accepted before other descriptors get their turn: 2 ms."""

MAX_ACCEPTED: Final = 2048
"""Connections of one listener at once; further ones wait in the kernel's queue. Twice what a tunnel is made for."""

EXHAUSTED_DELAY: Final = 1.0
"""Seconds until accepting is tried again when descriptors or memory have run out, unless a connection of this listener
ends earlier."""

SAME_PORT_ATTEMPTS: Final = 16
"""Times that a free port is looked for which is free for IPv4 and IPv6: each fails if another program has it for one of
them, which is rare."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_FAMILY: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
_CAUSES: Final[dict[int, ForwardCause]] = {
    errno.EADDRINUSE: "busy",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EMFILE: "busy",
    errno.ENFILE: "busy",
}

_Address: TypeAlias = tuple[socket.AddressFamily, str]


class StreamListener:
    """Accepts connections on listening sockets."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        address: ForwardTarget,
        accepted: Accepted,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        """`closed` is called once no connection is accepted any more."""
        self.address: Final = address
        self._sockets = sockets
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._serving = Serving(accepted, self._resume)
        self._accepting = self._open = False
        self._retry: asyncio.TimerHandle | None = None
        self._open = True
        self._resume()

    @property
    def addresses(self) -> list[ForwardTarget]:
        """All addresses at which it listens."""
        if isinstance(self.address, UnixTarget):
            return [self.address]
        return [socket_target(each) for each in self._sockets]

    def close(self) -> None:
        """Stop listening. Connections that were accepted go on."""
        if self._open:
            self._pause()
            self._open = False
            for listening in self._sockets:
                listening.close()
            self._closed()

    def _resume(self) -> None:
        """Accept connections, if that is possible now."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._open and not self._accepting and len(self._serving) < MAX_ACCEPTED:
            self._accepting = True
            for listening in self._sockets:
                self._loop.add_reader(listening.fileno(), self._readable, listening)

    def _pause(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._accepting:
            self._accepting = False
            for listening in self._sockets:
                self._loop.remove_reader(listening.fileno())

    def _readable(self, listening: socket.socket) -> None:
        for _ in range(FORWARD_ACCEPT_BATCH):
            if not self._accepting:
                return
            if len(self._serving) >= MAX_ACCEPTED:
                self._pause()
                return
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause()
                    self._retry = self._loop.call_later(EXHAUSTED_DELAY, self._resume)
                    return
                continue  # this connection has failed while it was waiting (accept(2)); the next one may work
            sock.setblocking(False)
            self._serving.start(sock, str(InetTarget(peer[0], peer[1])) if isinstance(peer, tuple) else "")


def socket_target(listening: socket.socket) -> InetTarget:
    """Return where a TCP or UDP socket listens."""
    host, port = listening.getsockname()[:2]
    return InetTarget(host, port, "udp" if listening.type == socket.SOCK_DGRAM else "tcp")


async def listen_at(where: ForwardTarget, accepted: Accepted, directory: int = -1) -> LocalListener:
    """Listen at `where`, and call `accepted` with each connection. Raises `ForwardRefused`.

    `directory` may be a descriptor of the directory in which a Unix socket is to be, wherever its path leads by now. It
    is closed with the listener, or if there is none.
    """
    if isinstance(where, UnixTarget):
        return _listen_unix(where, accepted, directory)
    kind = socket.SOCK_DGRAM if where.transport == "udp" else socket.SOCK_STREAM
    addresses = await _addresses(where, kind)
    for attempt in range(SAME_PORT_ATTEMPTS):
        try:
            sockets = _bound(addresses, where, kind)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            if where.port or not taken or attempt == SAME_PORT_ATTEMPTS - 1:
                raise _refused(where, error) from None
        else:
            break
    address = socket_target(sockets[0])
    if kind == socket.SOCK_DGRAM:
        return DatagramListener(sockets, address, accepted)
    return StreamListener(sockets, address, accepted)


async def _addresses(where: InetTarget, kind: socket.SocketKind) -> list[_Address]:
    if where.host in ("", "*"):
        v4, v6 = ("127.0.0.1", "::1") if not where.host else ("0.0.0.0", "::")  # nosec B104  # requested: `*`
        return [(socket.AF_INET, v4), (socket.AF_INET6, v6)]
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(where.host, where.port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ForwardRefused("unresolved", f"cannot listen on {where}: {where.host} has no address") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bound(addresses: list[_Address], where: InetTarget, kind: socket.SocketKind) -> list[socket.socket]:
    """Return sockets that listen at these addresses, all with the same port. Raises OSError."""
    sockets: list[socket.socket] = []
    port, missing = where.port, None
    try:
        for family, host in addresses:
            try:
                sockets.append(_bind(family, host, port, kind))
            except OSError as error:
                if error.errno not in _NO_FAMILY:
                    raise
                missing = error  # this machine has no IPv6, for instance
                continue
            port = sockets[-1].getsockname()[1]
        if not sockets:
            raise missing or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        if kind == socket.SOCK_STREAM:
            for listening in sockets:
                listening.listen(LISTEN_BACKLOG)
    except BaseException:
        for listening in sockets:
            listening.close()
        raise
    return sockets


def _bind(family: socket.AddressFamily, host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(where: UnixTarget, accepted: Accepted, directory: int) -> StreamListener:
    place = None
    try:
        if where.path:
            place = UnixPlace(os.path.join(os.path.expanduser(b"~"), where.path), directory)
        else:
            place = UnixPlace.in_own_directory()
        listening = place.bind()
    except OSError as error:
        if place is not None:
            place.close()
        raise _refused(where, error) from None
    return StreamListener([listening], UnixTarget(place.path), accepted, place.close)


def _refused(where: ForwardTarget, error: OSError) -> ForwardRefused:
    cause = _CAUSES.get(error.errno or 0, "failed")
    reason = os.strerror(error.errno) if error.errno and not error.strerror else error.strerror or str(error)
    if error.errno == errno.EADDRINUSE and isinstance(where, InetTarget):
        reason = "another program listens there"
    return ForwardRefused(cause, f"cannot listen on {where}: {reason}")
