"""A run's stdin: what is written waits here until the service has given credit for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class Outlet(Protocol):
    """What stdin needs of its connection."""

    def room(self) -> int:
        """Return how many bytes may be sent now; where 0, `InputStream.pump` is called once there are more."""

    def send(self, data: bytes) -> None:
        """Send 1 to `room()` bytes."""

    def end(self) -> None:
        """Say that no more will come."""


class InputStream:
    """As `asyncio.StreamWriter`: `write` and `close` do not wait, `drain` does. Not kept to text."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._pending: deque[bytes] = deque()
        self._offset = 0
        self._closing = False
        self._over = False
        self._error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def write(self, data: Buffer) -> None:
        """Send `data` as soon as the program takes it; call `drain` after, or it all waits in memory.

        Raises ValueError after `close`, BrokenPipeError where the run is over, TypeError for text.
        """
        if not isinstance(data, Buffer):
            raise TypeError(f"stdin takes bytes, not {type(data).__name__}")
        if self._closing:
            raise ValueError("write to a stdin that was closed")
        self._check()
        if data:
            self._pending.append(bytes(data))
            self.pump()

    async def drain(self) -> None:
        """Wait until everything written is under way, within the credit of the service.

        Raises BrokenPipeError where the run ended first, `ConnectionLost` where the connection did.
        """
        while self._pending and not self._over:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._pending:
            self._check()

    def close(self) -> None:
        """Send what waits, then the end of the stream. Does nothing the second time."""
        if not self._closing:
            self._closing = True
            self.pump()

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    # The connection's side

    def pump(self) -> None:
        """Send what there is room for."""
        while self._pending and not self._over:
            room = self._outlet.room()
            if not room:
                return
            chunk = self._pending[0]
            if self._offset or len(chunk) > room:
                piece = bytes(memoryview(chunk)[self._offset : self._offset + room])
            else:
                piece = chunk
            self._outlet.send(piece)
            self._offset += len(piece)
            if self._offset == len(chunk):
                self._pending.popleft()
                self._offset = 0
        if not self._pending and not self._over:
            if self._closing:
                self._over = True
                self._outlet.end()
            self._wake()

    def finish(self, error: Exception | None) -> None:
        """Nothing more can be sent: the run is over, or by `error` the connection is."""
        if not self._over or self._pending:
            self._over = True
            self._error = error or BrokenPipeError("the run is over; what was still to be sent to its stdin is lost")
            self._wake()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
