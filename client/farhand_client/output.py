"""What an attachment's output is made of: bytes with their place, and gaps where bytes are no longer kept.

What becomes of a run's output as it comes: it waits for a reader, or is collected.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from farhand_protocol.limits import MiB

from .errors import OutputIncomplete

Output: TypeAlias = Literal["stdout", "stderr"]


class Chunk(NamedTuple):
    """`data` of `stream`, the first byte of which has the offset `offset` in that stream."""

    stream: Output
    offset: int
    data: bytes


class Gap(NamedTuple):
    """`bytes` bytes of `stream` from `offset` on are no longer kept by the service."""

    stream: Output
    offset: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.bytes} bytes of {self.stream} from offset {self.offset} on are no longer kept"


OnGap: TypeAlias = Callable[[Gap], None]
"""Called where a reader comes to a gap, between the bytes before it and those behind."""


MAX_LINE_CHUNK: Final = 1 * MiB
"""Bytes of a line that `lines` gives at once: a file of one endless line must not fill the memory."""


class Receiver(Protocol):
    """Where the bytes of one output stream go. The methods are called by the connection and must not block."""

    def feed(self, chunk: bytes) -> None:
        """Bytes came. Whoever consumes them gives their credit back."""

    def gap(self, gap: Gap) -> None:
        """Bytes that would come here are no longer kept."""

    def trim(self, limit: int) -> int:
        """Forget the last bytes that came where more than `limit` wait; return how many. They come again."""

    def end(self) -> None:
        """No more will come."""

    def fail(self, error: Exception) -> None:
        """No more will come, and it is not known what is missing."""

    def discard(self) -> None:
        """Nobody wants what waits nor what comes."""


class OutputStream:
    """One output stream of a run, for one reader at a time.

    Bytes count as consumed, and their credit goes back to the service, once the reader comes for more: a slow reader
    ends up blocking the remote writer, and no more than the window (4 MiB) waits here, or two of them after a
    connection was lost and made again. Where it is lost for good, what had come is given first and then
    `ConnectionLost` is raised: the end of the stream is always its true end.

    Where the service no longer keeps some bytes, `on_gap` is called in their place; without it `OutputIncomplete` is
    raised there, and the rest is thrown away so that the program can go on.
    """

    def __init__(self, take: Callable[[int], None], run_id: str, on_gap: OnGap | None = None) -> None:
        self._take = take
        self._run_id = run_id
        self._on_gap = on_gap
        self._chunks: deque[bytes | Gap] = deque()
        self._handed = 0
        self._ended = False
        self._error: Exception | None = None
        self._discarding = False
        self._waiter: asyncio.Future[None] | None = None
        self._callback: Callable[[], None] | None = None

    # Receiver

    def feed(self, chunk: bytes) -> None:
        """Receiver."""
        if self._discarding:
            self._take(len(chunk))
            return
        self._chunks.append(chunk)
        self._wake()

    def gap(self, gap: Gap) -> None:
        """Receiver."""
        if not self._discarding:
            self._chunks.append(gap)
            self._wake()

    def trim(self, limit: int) -> int:
        """Receiver."""
        above = waiting(self._chunks) - limit
        dropped = 0
        while dropped < above and isinstance(last := self._chunks[-1], bytes):
            dropped += len(last)
            self._chunks.pop()
        return dropped

    def end(self) -> None:
        """Receiver."""
        self._ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Receiver."""
        if not self._ended:
            self._error = error
            self.end()

    def discard(self) -> None:
        """Receiver. Also a reader's word that it wants no more; the program may go on writing."""
        self._discarding = True
        count = waiting(self._chunks) + self._handed
        self._chunks.clear()
        self._handed = 0
        if count:
            self._take(count)
        self._wake()

    # The reader's side

    async def read_ready(self, limit: int = MiB) -> list[bytes]:
        """Wait for output; return what is there, at most about `limit` bytes, uncopied. Empty only at the end.

        Raises `ConnectionLost` where the connection ended before the stream, `OutputIncomplete` at a gap.
        """
        while (ready := self.read_nowait(limit)) is not None and not ready:
            await self._more()
        return ready or []

    def read_nowait(self, limit: int = MiB) -> list[bytes] | None:
        """As `read_ready`, without waiting: empty where nothing is there now, None at the end.

        For a reader that is to be called by `on_ready`.
        """
        self._return_handed()
        while self._chunks and isinstance(first := self._chunks[0], Gap):
            self._chunks.popleft()
            self._pass(first)
        if not self._chunks:
            if self._error is not None:
                raise self._error
            return None if self._ended or self._discarding else []
        ready: list[bytes] = []
        size = 0
        while self._chunks and isinstance(chunk := self._chunks[0], bytes):
            if ready and size + len(chunk) > limit:
                break
            ready.append(chunk)
            size += len(chunk)
            self._chunks.popleft()
        self._handed = size
        return ready

    def on_ready(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called where `read_nowait` may say something new, in the same turn of the loop as that came:
        for those who count microseconds. It must not raise anything."""
        self._callback = callback

    async def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes as soon as there are any, or everything up to the end; b"" only at the end.

        Raises `ConnectionLost` where the connection ended before the stream, `OutputIncomplete` at a gap.
        """
        if size == 0:
            return b""
        if size < 0:
            return b"".join([chunk async for chunk in self])
        chunk = await self._next()
        if len(chunk) > size:
            self._chunks.appendleft(chunk[size:])
            chunk = chunk[:size]
        self._handed = len(chunk)
        return chunk

    def __aiter__(self) -> OutputStream:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._next()
        if not chunk:
            raise StopAsyncIteration
        self._handed = len(chunk)
        return chunk

    async def lines(self, limit: int = MAX_LINE_CHUNK) -> AsyncIterator[bytes]:
        """Give lines with their newline; the last one may have none.

        A line longer than `limit` bytes comes in pieces of that size, so that memory stays bounded.
        """
        splitter = LineSplitter(limit)
        async for chunk in self:
            for line in splitter.feed(chunk):
                yield line
        if rest := splitter.rest():
            yield rest

    async def _next(self) -> bytes:
        """Return the next chunk, which is then not counted as consumed; b"" at the end."""
        self._return_handed()
        while True:
            await self._more()
            if not self._chunks:
                return b""
            first = self._chunks.popleft()
            if isinstance(first, bytes):
                return first
            self._pass(first)

    def _return_handed(self) -> None:
        if self._handed:
            handed, self._handed = self._handed, 0
            self._take(handed)

    def _pass(self, gap: Gap) -> None:
        if self._on_gap is not None:
            self._on_gap(gap)
            return
        self._error = OutputIncomplete(f"run {self._run_id}: {gap}", run_id=self._run_id, outcome=None)
        self._ended = True
        self.discard()
        raise self._error

    async def _more(self) -> None:
        while not self._chunks and not self._ended and not self._discarding:
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError("this stream already has a reader that waits")
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            await waiter
        if not self._chunks and self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._callback is not None:
            self._callback()


def waiting(chunks: Iterable[bytes | Gap]) -> int:
    """Return how many bytes wait in `chunks`."""
    return sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes))


class LineSplitter:
    """Cuts chunks into lines that keep their newline; one longer than `limit` bytes into pieces of that size."""

    def __init__(self, limit: int = MAX_LINE_CHUNK) -> None:
        if limit < 1:
            raise ValueError(f"limit is {limit}; a line has at least 1 byte")
        self._limit = limit
        self._partial = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give the lines and pieces that `chunk` completes."""
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield from self._pieces(line + b"\n")
            if self._partial:
                yield self.rest()
        yield from self._pieces(rest)

    def rest(self) -> bytes:
        """Return the begin of a line whose newline has not come."""
        rest, self._partial = self._partial, b""
        return rest

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        at = self._limit - len(self._partial)
        if len(data) <= at:
            self._partial += data
            return
        yield self._partial + data[:at]
        while len(data) - at > self._limit:
            yield data[at : at + self._limit]
            at += self._limit
        self._partial = data[at:]


class OutputCollector:
    """Keeps the first `limit` bytes of a stream and throws the rest away, so that the program can go on."""

    def __init__(self, take: Callable[[int], None], limit: int, on_gap: OnGap | None = None) -> None:
        self._take = take
        self._on_gap = on_gap
        self._chunks: list[bytes] = []
        self._left = limit
        self.truncated = False

    def feed(self, chunk: bytes) -> None:
        """Receiver."""
        self._take(len(chunk))
        if len(chunk) > self._left:
            self.truncated = True
            chunk = chunk[: self._left]
        if chunk:
            self._left -= len(chunk)
            self._chunks.append(chunk)

    def gap(self, gap: Gap) -> None:
        """Receiver."""
        if self._on_gap is not None:
            self._on_gap(gap)

    def trim(self, limit: int) -> int:
        """Receiver. Nothing waits here."""
        return 0

    def end(self) -> None:
        """Receiver."""

    def fail(self, error: Exception) -> None:
        """Receiver."""

    def discard(self) -> None:
        """Receiver."""
        self._left = 0

    def value(self) -> bytes:
        """Return what was kept."""
        return b"".join(self._chunks)
