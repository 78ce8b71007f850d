"""A run's stdin: what is written waits here until the service has credit for it, and until the program has taken it.

Feeds a run's stdin from a file or from any source of chunks, as fast as the program takes it.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Coroutine
from typing import IO, Any, Final, Protocol, TypeAlias, TypeVar

from farhand_protocol.limits import KiB

from .errors import ConnectionLost

Buffer = bytes | bytearray | memoryview


class StdinChannel(Protocol):
    """What stdin needs of its channel."""

    def room(self) -> int:
        """Return how many bytes may be sent now; where 0, `InputStream.pump` is called once there are more."""

    def send(self, data: bytes) -> None:
        """Send 1 to `room()` bytes."""

    def flush(self) -> None:
        """Let what was sent leave now, and not at the end of this turn of the loop."""

    def end(self) -> bool:
        """Say that no more will come; False where there is no channel to say it on now."""


class InputStream:
    """As `asyncio.StreamWriter`: `write` and `close` do not wait, `drain` does. Not kept to text.

    What was sent stays here until the service says that the program has taken it, at most the window (4 MiB), and is
    sent again where the connection was lost: the service drops what it has had.
    """

    def __init__(self, outlet: StdinChannel, offset: int = 0) -> None:
        self._outlet = outlet
        self._unsent: deque[bytes] = deque()
        self._waiting = 0
        self._offset = 0  # bytes of the first unsent chunk that were sent
        self._unacknowledged: deque[bytes] = deque()
        self._acknowledged = offset
        self._closing = False
        self._end_sent = False
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
            chunk = bytes(data)
            self._unsent.append(chunk)
            self._waiting += len(chunk)
            self.pump()

    async def drain(self) -> None:
        """Wait until everything written is under way, within the credit of the service.

        Raises BrokenPipeError where the run ended first, `ConnectionLost` where the connection did for good.
        """
        while self._unsent and not self._over:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._unsent:
            self._check()

    def flush(self) -> None:
        """Let what is under way leave now, and not together with what else is written in this turn of the loop: a key
        is waited for."""
        self._outlet.flush()

    @property
    def waiting(self) -> int:
        """Bytes written that are not under way: there is no credit of the service for them, or no connection."""
        return self._waiting

    def close(self) -> None:
        """Send what waits, then the end of the stream. Does nothing the second time."""
        if not self._closing:
            self._closing = True
            self.pump()

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    # The channel's side

    @property
    def acknowledged(self) -> int:
        """The offset of the first byte that the program is not known to have taken."""
        return self._acknowledged

    @property
    def over(self) -> bool:
        """Whether nothing more can be sent, ever."""
        return self._over

    def pump(self) -> None:
        """Send what there is room for."""
        while self._unsent and not self._over:
            room = self._outlet.room()
            if not room:
                return
            chunk = self._unsent[0]
            if self._offset or len(chunk) > room:
                piece = bytes(memoryview(chunk)[self._offset : self._offset + room])
            else:
                piece = chunk
            self._outlet.send(piece)
            self._unacknowledged.append(piece)
            self._offset += len(piece)
            self._waiting -= len(piece)
            if self._offset == len(chunk):
                self._unsent.popleft()
                self._offset = 0
        if not self._unsent and not self._over:
            if self._closing and not self._end_sent:
                self._end_sent = self._outlet.end()
            self._wake()

    def acknowledge(self, count: int) -> None:
        """The program has taken `count` bytes more."""
        while count and self._unacknowledged:
            chunk = self._unacknowledged[0]
            taken = min(count, len(chunk))
            count -= taken
            self._acknowledged += taken
            if taken == len(chunk):
                self._unacknowledged.popleft()
            else:
                self._unacknowledged[0] = chunk[taken:]

    def rewind(self) -> None:
        """A new channel begins at `acknowledged`: what was sent before and not taken goes there once more."""
        if self._offset:
            self._unsent[0] = self._unsent[0][self._offset :]
            self._offset = 0
        self._unsent.extendleft(reversed(self._unacknowledged))
        self._waiting += sum(map(len, self._unacknowledged))
        self._unacknowledged.clear()
        self._end_sent = False

    def finish(self, error: Exception | None) -> None:
        """Nothing more can be sent: the run is over, or by `error` the connection is for good."""
        if not self._over:
            self._over = True
            if self._unsent or not self._end_sent:
                self._error = error or BrokenPipeError(
                    "the run is over, or another client feeds it; what was still to be sent to its stdin is lost"
                )
            self._wake()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


T = TypeVar("T")

STDIN_READ_SIZE: Final = 256 * KiB
"""Bytes read at once: four data frames; a pipe gives 64 KiB at the most."""

Source: TypeAlias = "int | IO[bytes] | AsyncIterable[bytes]"


async def feed_until(stdin: InputStream, source: Source, end: Coroutine[Any, Any, T]) -> T:
    """Return what `end` does, while all of `source` is written to `stdin`, which is closed after it.

    Raises what `end` raises, or else what reading the source does. A program need not read all of its stdin.
    """
    ending = asyncio.ensure_future(end)
    feeding = asyncio.ensure_future(_feed(stdin, source))
    tasks: list[asyncio.Task[Any]] = [ending, feeding]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if feeding.done() and not ending.done():
            feeding.result()
        return await ending
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(stdin: InputStream, source: Source) -> None:
    async for chunk in source if isinstance(source, AsyncIterable) else read_chunks(source):
        try:
            stdin.write(chunk)
            await stdin.drain()
        except (BrokenPipeError, ConnectionLost):
            return  # the run is over, and its outcome says more
    stdin.close()


async def read_chunks(file: int | IO[bytes]) -> AsyncIterator[bytes]:
    """Give the bytes of a file descriptor or of an open binary file as they come.

    A pipe, socket or terminal is read past Python's buffer, once it has something, and its mode is left alone: a
    non-blocking stdin would be non-blocking for every process that shares it.
    """
    fd = _descriptor(file)
    if fd is None:
        assert not isinstance(file, int)
        while chunk := file.read(STDIN_READ_SIZE):
            yield chunk
        return
    while True:
        await _readable(fd)
        try:
            chunk = os.read(fd, STDIN_READ_SIZE)
        except BlockingIOError:
            continue
        if not chunk:
            return
        yield chunk


def _descriptor(file: int | IO[bytes]) -> int | None:
    if isinstance(file, int):
        return file
    try:
        return None if file.seekable() else file.fileno()
    except OSError:  # io.UnsupportedOperation: not a file of the system's
        return None


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:  # epoll_ctl(2): a regular file is always readable
        await asyncio.sleep(0)
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
