"""Flow control inside a tunnel: how much of each flow may be in flight, and how much of all flows together. No I/O.

A receiver's window begins small, so that a thousand flows need little memory even if nobody reads from them. It doubles
once as much as it holds has arrived and everything is consumed at that moment: a consumer that keeps up gets a window
for long distances, and one that does not never makes this side store more. What windows have beyond their beginning
comes out of a pool that the flows of a tunnel share.
"""

from __future__ import annotations

from typing import Final

from farhand_protocol.limits import KiB, MiB

from .wire import MAX_FLOW_WINDOW, ForwardWireError

FIRST_WINDOW: Final = 128 * KiB
"""Bytes of a new flow that this side stores: 125 MiB for 1,000 flows of which none is read. A consumer that keeps up
leaves three quarters of it as credit, which must be enough for the largest datagram."""

WINDOW_POOL: Final = 64 * MiB
"""Bytes that the windows of all flows may have beyond `FIRST_WINDOW`: 34 flows with the largest window."""

DATAGRAM_COST: Final = 256
"""Bytes of credit that a datagram costs beside its content: roughly what storing it takes, so that empty ones are
bounded, too."""


class WindowPool:
    """What the windows of a tunnel may still grow by, in bytes."""

    __slots__ = ("free",)

    def __init__(self, size: int = WINDOW_POOL) -> None:
        self.free = size


class FlowWindow:
    """The receiver's end of one flow."""

    __slots__ = ("_before_growth", "_open", "_pool", "_size", "unread")

    def __init__(self, pool: WindowPool) -> None:
        self._pool = pool
        self._size = self._open = self._before_growth = FIRST_WINDOW
        self.unread = 0
        """Bytes received and not yet consumed."""

    @property
    def size(self) -> int:
        """How much may be in flight, in bytes."""
        return self._size

    def receive(self, count: int) -> None:
        """Record `count` received bytes. Raises `ForwardWireError` if they exceed the credit of the other side."""
        if count > self._open:
            raise ForwardWireError(f"DATA: {count} bytes with credit for {self._open}")
        self._open -= count
        self.unread += count

    def consume(self, count: int) -> int:
        """Record `count` bytes as consumed, and return the credit that the other side must be given now, or 0.

        Credit is returned a quarter of the window at a time: often enough that the sender need not wait for it, and
        rarely enough that it costs nothing.
        """
        if count > self.unread:
            raise ValueError(f"{count} bytes consumed, of {self.unread} that have arrived")
        self.unread -= count
        size = self._size
        grant = size - self._open - self.unread
        if grant * 4 < size:
            return 0
        self._before_growth -= grant
        if self._before_growth <= 0 and not self.unread and size < MAX_FLOW_WINDOW and self._pool.free >= size:
            self._pool.free -= size
            self._size = self._before_growth = 2 * size
            grant += size
        self._open += grant
        return grant

    def close(self) -> None:
        """Return to the pool what the window has from it."""
        self._pool.free += self._size - FIRST_WINDOW
        self._size = FIRST_WINDOW
