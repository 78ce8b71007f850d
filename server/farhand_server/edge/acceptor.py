"""Takes connections off listening sockets, also where descriptors or memory run out."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from .limiter import LogThrottle

ACCEPT_BATCH: Final = 16
"""Connections taken before other descriptors have their turn: at 150 µs each, 2.4 ms."""
ACCEPT_RETRY_DELAY: Final = 1.0
"""Seconds after which accepting is tried again where resources ran out and no connection of ours has ended."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# The peer's sockaddr: (host, port) or (host, port, flow, scope).
Accepted = Callable[[socket.socket, tuple[Any, ...]], None]


class Acceptor:
    """Calls `accepted` with each connection, non-blocking and not inheritable.

    While descriptors or memory are short it does not accept, and new connections wait in the kernel's queue.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        accepted: Accepted,
        throttle: LogThrottle,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._accepted = accepted
        self._throttle = throttle
        self._retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        for listening in self._sockets:
            listening.setblocking(False)
            self._loop.add_reader(listening.fileno(), self._readable, listening)

    def room(self) -> None:
        """Descriptors have become free."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self.start()

    def close(self) -> None:
        """Accept no more, and close the listening sockets."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()

    def _readable(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, peer = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return
                # The connection died while it waited: accept(2) passes on the network's errors. The next may live.
                continue
            sock.setblocking(False)
            self._accepted(sock, peer)

    def _pause(self, error: OSError) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
        self._retry = self._loop.call_later(ACCEPT_RETRY_DELAY, self.room)
        self._throttle.warning("not accepting for a while", reason=os.strerror(error.errno or 0))
