"""Notices that the peer of a descriptor has hung up, although nobody reads from it.

uvloop tells of a hang-up only who reads or writes, offers no UV_DISCONNECT, and stops watching a descriptor at its
first EPOLLERR (`UVPoll._fatal_error`), even with bytes left to read: an epoll descriptor of our own is watched by the
loop besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable


class HangupWatch:
    """One for all connections of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._readable)

    def watch(self, descriptor: int, hung_up: Callable[[], None]) -> None:
        """Call `hung_up` when the peer has shut down its side or an error is pending; `forget` before the close."""
        self._watched[descriptor] = hung_up
        # EPOLLERR and EPOLLHUP always come (epoll_ctl(2)). A level would spin: neither goes away.
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, descriptor: int) -> None:
        """Watch no more. Harmless for a descriptor that is not watched."""
        if self._watched.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._watched.clear()

    def _readable(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            hung_up = self._watched.get(descriptor)
            if hung_up is not None:
                hung_up()
