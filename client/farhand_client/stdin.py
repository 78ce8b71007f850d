"""A run's stdin on the client, and what feeds it.

What is written to an `InputStream` is kept until the program has read it, so that it can be sent again after an outage.
`feed_until` writes a file, pipe or async iterable to it, as fast as the program reads.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Coroutine
from typing import IO, Any, Final, NoReturn, Protocol, TypeAlias, TypeVar

from farhand_protocol.limits import KiB

from . import job
from .errors import ConnectionLost
from .home_loop import HomeLoop, not_picklable

Buffer = bytes | bytearray | memoryview

Source: TypeAlias = "int | IO[bytes] | AsyncIterable[bytes]"
"""What can feed a stdin: a file descriptor, an open binary file, or an async iterable of bytes."""

STDIN_READ_SIZE: Final = 256 * KiB
"""Bytes read at once: four data frames. A pipe yields 64 KiB at most."""

_T = TypeVar("_T")


class StdinChannel(Protocol):
    """What an `InputStream` needs of the channel of its run."""

    def room(self) -> int:
        """Return how many bytes may be sent now. After a 0, `InputStream.pump` is called when there is room."""

    def send(self, data: bytes | memoryview) -> None:
        """Send 1 to `room()` bytes, which will not change."""

    def flush(self) -> None:
        """Send what is queued now, not at the end of this turn of the event loop."""

    def end(self) -> bool:
        """Send the end of stdin. Return False if there is no channel for it now."""


class InputStream:
    """A writer like `asyncio.StreamWriter`: `write` and `close` do not wait, `drain` does. It accepts only bytes.

    What was sent is kept until the service says that the program has read it, at most the window (4 MiB), and is sent
    again after an outage; the service drops what it has already received.
    """

    def __init__(self, channel: StdinChannel, offset: int = 0) -> None:
        self._channel = channel
        self._home = HomeLoop()
        self._unsent: deque[bytes | memoryview] = deque()
        self._unsent_size = 0
        self._sent_of_first = 0  # bytes of the first unsent chunk that were sent
        self._unacknowledged: deque[bytes | memoryview] = deque()
        self._acknowledged = offset
        self._in_flight = 0
        self.max_in_flight: int | None = None
        """Bytes that may be sent and not read by the program yet; None: as many as the service's credit allows. Less is
        lost if the program is killed, but on a slow connection it also sends less in a second."""
        self._closing = False
        self._end_sent = False
        self._over = False
        self._error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def write(self, data: Buffer) -> None:
        """Queue `data`, to be sent as the program reads. Call `drain` afterwards, or all of it waits in memory.

        Raises ValueError after `close`, BrokenPipeError if the run has ended, TypeError for str.
        """
        self._home.check("stdin")
        if not isinstance(data, Buffer):
            raise TypeError(f"stdin accepts bytes, not {type(data).__name__}")
        if self._closing:
            raise ValueError("write to a closed stdin")
        self._raise_error()
        if data:
            chunk = bytes(data)
            self._unsent.append(chunk)
            self._unsent_size += len(chunk)
            self.pump()

    async def drain(self) -> None:
        """Wait until everything written has been sent, as the service's credit allows.

        Raises BrokenPipeError if the run ended first, `ConnectionLost` if the connection was lost permanently.
        """
        self._home.check("stdin")
        while self._unsent and not self._over:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._unsent:
            self._raise_error()

    def flush(self) -> None:
        """Send what credit allows at once, without collecting other writes of this turn of the event loop.

        Use it for keystrokes, whose echo the user is waiting for.
        """
        self._channel.flush()

    @property
    def waiting(self) -> int:
        """Bytes written and not sent, for lack of the service's credit or of a connection."""
        return self._unsent_size

    def close(self) -> None:
        """Send what is queued, then the end of the stream. Safe to call again."""
        self._home.check("stdin")
        if not self._closing:
            self._closing = True
            self.pump()

    def is_closing(self) -> bool:
        """Return whether `close` was called."""
        return self._closing

    def __repr__(self) -> str:
        how = "over" if self._over else "closed" if self._closing else "open"
        return f"<{type(self).__name__}, {how}, {self._unsent_size} bytes unsent>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a run's stdin")

    # For the channel

    @property
    def acknowledged(self) -> int:
        """The offset of the first byte that the program is not known to have read."""
        return self._acknowledged

    @property
    def over(self) -> bool:
        """Whether nothing more can ever be sent."""
        return self._over

    def pump(self) -> None:
        """Send as much as credit allows."""
        while self._unsent and not self._over:
            room = self._channel.room()
            if self.max_in_flight is not None:
                room = min(room, self.max_in_flight - self._in_flight)
            if room <= 0:
                return
            chunk = self._unsent[0]
            part: bytes | memoryview
            if self._sent_of_first or len(chunk) > room:
                part = memoryview(chunk)[self._sent_of_first : self._sent_of_first + room]
            else:
                part = chunk
            self._channel.send(part)
            self._unacknowledged.append(part)
            self._in_flight += len(part)
            self._sent_of_first += len(part)
            self._unsent_size -= len(part)
            if self._sent_of_first == len(chunk):
                self._unsent.popleft()
                self._sent_of_first = 0
        if not self._unsent and not self._over:
            if self._closing and not self._end_sent:
                self._end_sent = self._channel.end()
            self._wake()

    def acknowledge(self, count: int) -> None:
        """Note that the program has read `count` bytes more."""
        while count and self._unacknowledged:
            chunk = self._unacknowledged[0]
            read = min(count, len(chunk))
            count -= read
            self._acknowledged += read
            self._in_flight -= read
            if read == len(chunk):
                self._unacknowledged.popleft()
            else:
                self._unacknowledged[0] = chunk[read:]

    def rewind(self) -> None:
        """Prepare for a new channel, which starts at `acknowledged`: queue again what the program has not read."""
        if self._sent_of_first:
            self._unsent[0] = self._unsent[0][self._sent_of_first :]
            self._sent_of_first = 0
        self._unsent.extendleft(reversed(self._unacknowledged))
        self._unsent_size += sum(map(len, self._unacknowledged))
        self._unacknowledged.clear()
        self._in_flight = 0
        self._end_sent = False

    def finish(self, error: Exception | None) -> None:
        """Note that nothing more can be sent: the run has ended, or the connection was lost permanently by `error`."""
        if not self._over:
            self._over = True
            if self._unsent or not self._end_sent:
                self._error = error or BrokenPipeError(
                    "the run has ended, or another client feeds it; the unsent rest of its stdin is lost"
                )
            self._wake()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


async def feed_until(stdin: InputStream, source: Source, end: Coroutine[Any, Any, _T]) -> _T:
    """Write all of `source` to `stdin` and close it, until `end` completes; return its result.

    `end` may complete first: a program need not read all of its stdin. Raises what `end` raises, or else what reading
    the source raises.
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
            return  # the run is over; its outcome says more
    stdin.close()


async def read_chunks(file: int | IO[bytes]) -> AsyncIterator[bytes]:
    """Yield the bytes of a file descriptor or an open binary file as they arrive.

    A pipe, socket or terminal is read directly, not through Python's buffer, when it is readable. Its mode is left
    alone: making stdin non-blocking would do so for every process that shares it.
    """
    fd = _waitable_descriptor(file)
    if fd is None:
        assert not isinstance(file, int)
        while chunk := file.read(STDIN_READ_SIZE):
            yield chunk
        return
    while True:
        await _wait_readable(fd)
        if not job.may_read(fd):
            continue
        try:
            chunk = os.read(fd, STDIN_READ_SIZE)
        except BlockingIOError:
            continue
        if not chunk:
            return
        yield chunk


def _waitable_descriptor(file: int | IO[bytes]) -> int | None:
    """Return the descriptor of a file whose data may have to be waited for; None to read the file object itself."""
    if isinstance(file, int):
        return file
    try:
        return None if file.seekable() else file.fileno()
    except OSError:  # io.UnsupportedOperation: not a file of the operating system
        return None


async def _wait_readable(fd: int) -> None:
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
