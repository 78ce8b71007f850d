"""The selector of the core's loop.

`selectors.EpollSelector` calls three more functions for each wait and two more for each event, and allocates memory for
as many events as there are descriptors each time: 120 KiB with 10,000 connections.
"""

from __future__ import annotations

import contextlib
import select
import selectors
from collections.abc import Iterator, Mapping
from math import ceil
from selectors import SelectorKey
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

READY_PER_TURN: Final = 512
"""Descriptors that are ready of which one turn learns: 6 KiB of memory. The others are ready in the next turn, too."""


class TurnWatch(Protocol):
    """Learns when a turn of the loop begins and ends."""

    def begin(self) -> None:
        """Note that a turn begins."""

    def end(self) -> None:
        """Note that the turn is over."""


class WatchedSelector(selectors.BaseSelector):
    """Does what `selectors.EpollSelector` does, and tells the watch when a turn ends and when the next one begins."""

    def __init__(self, watch: TurnWatch) -> None:
        self._watch = watch
        self._epoll = select.epoll()
        self._keys: dict[int, SelectorKey] = {}
        self._map = _RegisteredKeys(self._keys)

    def fileno(self) -> int:
        """Return the descriptor of epoll(7)."""
        return self._epoll.fileno()

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        descriptor = _descriptor(fileobj)
        if descriptor in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        self._epoll.register(descriptor, _epoll_events(events))
        return self._add(fileobj, descriptor, events, data)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> SelectorKey:
        key = self.get_key(fileobj)
        if events != key.events:
            self._epoll.modify(key.fd, _epoll_events(events))
        return self._add(key.fileobj, key.fd, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> SelectorKey:
        key = self.get_key(fileobj)
        del self._keys[key.fd]
        with contextlib.suppress(OSError):  # it may be closed already
            self._epoll.unregister(key.fd)
        return key

    def get_key(self, fileobj: FileDescriptorLike) -> SelectorKey:
        return self._keys[_descriptor(fileobj)]

    def get_map(self) -> Mapping[FileDescriptorLike, SelectorKey]:
        return self._map

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        watch, keys = self._watch, self._keys
        if timeout is None:
            timeout = -1
        elif timeout > 0:
            timeout = ceil(timeout * 1000) / 1000  # epoll_wait(2) has milliseconds, and must not return too early
        else:
            timeout = 0
        watch.end()
        try:
            events = self._epoll.poll(timeout, READY_PER_TURN)
        except InterruptedError:
            events = []
        watch.begin()
        ready = []
        for descriptor, event in events:
            key = keys.get(descriptor)
            if key is not None:
                found = (selectors.EVENT_WRITE if event & ~select.EPOLLIN else 0) | (
                    selectors.EVENT_READ if event & ~select.EPOLLOUT else 0
                )
                ready.append((key, found & key.events))
        return ready

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()

    def _add(self, fileobj: FileDescriptorLike, descriptor: int, events: int, data: Any) -> SelectorKey:
        key = self._keys[descriptor] = SelectorKey(fileobj, descriptor, events, data)
        return key


class _RegisteredKeys(Mapping["FileDescriptorLike", SelectorKey]):
    """Shows the keys as `selectors` does it. From Python 3.13 on, asyncio gets this for each reader that it adds or
    removes, whether that is a descriptor or an object with one, so nothing may be copied."""

    def __init__(self, keys: Mapping[int, SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, fileobj: FileDescriptorLike) -> SelectorKey:
        return self._keys[_descriptor(fileobj)]

    def __iter__(self) -> Iterator[FileDescriptorLike]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _descriptor(fileobj: FileDescriptorLike) -> int:
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()


def _epoll_events(events: int) -> int:
    return (select.EPOLLIN if events & selectors.EVENT_READ else 0) | (
        select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )
