"""Accepts connections from listening sockets, and survives a shortage of descriptors or memory."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from .throttle import LogThrottle

ACCEPT_BATCH: Final = 16
"""Connections accepted before other descriptors get their turn: 2.4 ms at 150 µs each."""

MAX_QUEUE: Final = 4096
"""Connections that the kernel keeps for one listening socket at most: its default somaxconn (listen(2))."""

ACCEPT_RETRY_DELAY: Final = 1.0
"""Seconds after which accepting is retried when resources have run out, unless one of our connections ends earlier."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Accepted = Callable[[socket.socket, tuple[Any, ...]], None]
"""Receives a socket and its peer's sockaddr: (host, port) or (host, port, flow, scope). If it raises OSError, the
acceptor closes the socket."""


class Acceptor:
    """Calls `accepted` with each connection's socket, which is non-blocking and not inheritable.

    While descriptors or memory are short, it stops accepting, and new connections wait in the kernel's queue. `looked`
    is called after each look at a queue, with whether it is empty now.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Sequence[socket.socket],
        accepted: Accepted,
        log: LogThrottle | None = None,
        looked: Callable[[bool], None] = lambda empty: None,
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._accepted = accepted
        self._log = log
        self._looked = looked
        self._retry: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start accepting connections on all listening sockets."""
        for listening in self._sockets:
            listening.setblocking(False)
            self._loop.add_reader(listening.fileno(), self._readable, listening)

    def resume(self) -> None:
        """Accept again if resources had run out. Call this when descriptors have become free."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self.start()

    def accept_waiting(self) -> None:
        """Accept whoever waits in the kernel's queues now."""
        for listening in self._sockets:
            self._accept(listening, MAX_QUEUE)

    def close(self) -> None:
        """Stop accepting, and close the listening sockets."""
        self.stop()
        for listening in self._sockets:
            listening.close()

    def stop(self) -> None:
        """Stop accepting. The sockets go on listening, and new connections wait in the kernel's queues."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())

    def _readable(self, listening: socket.socket) -> None:
        self._looked(self._accept(listening, ACCEPT_BATCH))

    def _accept(self, listening: socket.socket, most: int) -> bool:
        """Accept connections, at most so many; return whether no other waits."""
        for _ in range(most):
            try:
                sock, peer = listening.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(error)
                    return False
                # This connection failed while it was queued: accept(2) reports its network error. The next one may
                # work.
                continue
            sock.setblocking(False)
            try:
                self._accepted(sock, peer)
            except OSError as error:  # the kernel is short of memory for it, for instance: epoll_ctl(2)
                sock.close()
                self._warn("client closed", error)
        return False

    def _pause(self, error: OSError) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
        self._retry = self._loop.call_later(ACCEPT_RETRY_DELAY, self.resume)
        self._warn("accepting paused", error)

    def _warn(self, what: str, error: OSError) -> None:
        if self._log is not None:
            self._log.warning(what, reason=os.strerror(error.errno or 0))
