"""A run's output on the client: streams that a reader consumes, and collectors that keep the beginning.

The connection calls the methods of an `OutputReceiver` as output arrives. An `OutputStream` keeps it until it is read,
an `OutputCollector` keeps the first bytes and throws the rest away. Both return credit for what was consumed, which is
what makes the remote writer wait for a slow reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple, NoReturn, Protocol, TypeAlias

from farhand_protocol.limits import MiB

from .arguments import as_count, shortened, type_error
from .errors import OutputIncomplete
from .home_loop import HomeLoop, not_picklable

MAX_LINE_CHUNK: Final = 1 * MiB
"""The most bytes of a line that `lines` yields at once: a file without newlines must not fill the memory."""

Output: TypeAlias = Literal["stdout", "stderr"]


class Chunk(NamedTuple):
    """`data` of `stream`, whose first byte is at `offset` in that stream."""

    stream: Output
    offset: int
    data: bytes

    def __repr__(self) -> str:
        return f"Chunk(stream={self.stream!r}, offset={self.offset}, data={shortened(self.data)})"


class Gap(NamedTuple):
    """`bytes` bytes of `stream`, from `offset` on, which the service no longer keeps."""

    stream: Output
    offset: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.bytes} bytes of {self.stream} from offset {self.offset} on are no longer kept"


OnGap: TypeAlias = Callable[[Gap], None]
"""Called when a reader comes to a gap: after it has received the bytes before the gap, and before those after it."""


class OutputReceiver(Protocol):
    """Where the bytes of one output stream are delivered. The connection calls these methods; they must not block."""

    def feed(self, chunk: bytes) -> None:
        """Accept bytes. Whoever consumes them must return their credit."""

    def gap(self, gap: Gap) -> None:
        """Note that the next bytes are no longer kept."""

    def trim(self, limit: int) -> int:
        """Drop the last unread bytes beyond `limit` and return how many; they will be sent again."""

    def end(self) -> None:
        """Note the end of the stream."""

    def fail(self, error: Exception) -> None:
        """Note that nothing more will arrive, and that it is unknown what is missing."""

    def discard(self) -> None:
        """Throw away what is unread and what still arrives."""


class OutputStream:
    """One output stream of a run, for one reader at a time.

    Bytes count as consumed, and their credit is returned to the service, when the reader asks for more. So a slow
    reader ends up blocking the remote writer, and at most the window (4 MiB) is unread here, or twice that after an
    outage. If the connection is lost permanently, the reader first receives what had arrived and then
    `ConnectionLost`: the end of the stream is always its true end.

    If the service no longer keeps some bytes, `on_gap` is called in their place; without it, `OutputIncomplete` is
    raised there, and the rest is thrown away so that the program can continue.
    """

    def __init__(self, consumed: Callable[[int], None], run_id: str, on_gap: OnGap | None = None) -> None:
        self._consumed = consumed
        self._home = HomeLoop()
        self._run_id = run_id
        self._on_gap = on_gap
        self._chunks: deque[bytes | Gap] = deque()
        self._handed_out = 0  # bytes that the reader has and that do not count as consumed yet
        self._ended = False
        self._error: Exception | None = None
        self._discarding = False
        self._waiter: asyncio.Future[None] | None = None
        self._callback: Callable[[], None] | None = None

    # Implements OutputReceiver.

    def feed(self, chunk: bytes) -> None:
        """Keep bytes for the reader."""
        if self._discarding:
            self._consumed(len(chunk))
            return
        self._chunks.append(chunk)
        self._wake()

    def gap(self, gap: Gap) -> None:
        """Keep a gap for the reader."""
        if not self._discarding:
            self._chunks.append(gap)
            self._wake()

    def trim(self, limit: int) -> int:
        """Drop whole chunks from the end until at most `limit` bytes are unread, or a gap comes; return their bytes."""
        excess = _size(self._chunks) - limit
        dropped = 0
        while dropped < excess and isinstance(last := self._chunks[-1], bytes):
            dropped += len(last)
            self._chunks.pop()
        return dropped

    def end(self) -> None:
        """End the stream after what is unread."""
        self._ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Raise `error` to the reader after what is unread, unless the stream has ended."""
        if not self._ended:
            self._error = error
            self.end()

    def discard(self) -> None:
        """Throw away what is unread and what still arrives, so that the program can continue to write.

        A reader may call this too.
        """
        self._home.check("a run's output")
        self._discarding = True
        count = _size(self._chunks) + self._handed_out
        self._chunks.clear()
        self._handed_out = 0
        if count:
            self._consumed(count)
        self._wake()

    # For the reader

    async def read_ready(self, limit: int = MiB) -> list[bytes]:
        """Wait for output and return what has arrived, at most `limit` bytes (from 1). Empty only at the end.

        Raises `ConnectionLost` if the connection ended before the stream, `OutputIncomplete` at a gap.
        """
        while (ready := self.read_nowait(limit)) is not None and not ready:
            await self._wait_for_more()
        return ready or []

    def read_nowait(self, limit: int = MiB) -> list[bytes] | None:
        """Do as `read_ready` without waiting: return an empty list if nothing has arrived, None at the end.

        For a reader that is called by `on_ready`.
        """
        self._home.check("a run's output")
        self._count_handed_out()
        while self._chunks and isinstance(first := self._chunks[0], Gap):
            self._chunks.popleft()
            self._report_gap(first)
        if not self._chunks:
            if self._error is not None:
                raise self._error
            return None if self._ended or self._discarding else []
        ready: list[bytes] = []
        size = 0
        while self._chunks and isinstance(chunk := self._chunks[0], bytes):
            if size + len(chunk) > limit:
                if ready:
                    break
                del self._chunks[0]
                parts = [chunk[at : at + limit] for at in range(0, len(chunk), limit)]
                self._chunks.extendleft(reversed(parts))
                chunk = parts[0]
            ready.append(chunk)
            size += len(chunk)
            self._chunks.popleft()
        self._handed_out = size
        return ready

    def on_ready(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever `read_nowait` may return something new, in the turn of the event loop in which
        it arrived: for readers to whom microseconds matter. It must not raise anything."""
        self._callback = callback

    async def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes as soon as there are any; without `size`, everything to the end. b"" at the end.

        Raises `ConnectionLost` if the connection ended before the stream, `OutputIncomplete` at a gap.
        """
        if size is None:
            size = -1
        if not isinstance(size, int):
            raise type_error("size", size, "an int, or None")
        if size == 0:
            return b""
        if size < 0:
            return b"".join([chunk async for chunk in self])
        chunk = await self._next_chunk()
        if len(chunk) > size:
            self._chunks.appendleft(chunk[size:])
            chunk = chunk[:size]
        self._handed_out = len(chunk)
        return chunk

    def __repr__(self) -> str:
        how = "discarded" if self._discarding else "ended" if self._ended else "open"
        return f"<{type(self).__name__} of run {self._run_id}, {how}, {_size(self._chunks)} bytes unread>"

    def __reduce__(self) -> NoReturn:
        raise not_picklable("a run's output")

    def __aiter__(self) -> OutputStream:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._next_chunk()
        if not chunk:
            raise StopAsyncIteration
        self._handed_out = len(chunk)
        return chunk

    async def lines(self, limit: int = MAX_LINE_CHUNK) -> AsyncIterator[bytes]:
        """Yield lines with their newline; the last one may have none.

        A line longer than `limit` bytes is yielded in chunks of that size, which bounds memory.
        """
        splitter = LineSplitter(limit)
        async for chunk in self:
            for line in splitter.feed(chunk):
                yield line
        if rest := splitter.rest():
            yield rest

    async def _next_chunk(self) -> bytes:
        """Return the next chunk, which the caller must count in `_handed_out`; b"" at the end."""
        self._home.check("a run's output")
        self._count_handed_out()
        while True:
            await self._wait_for_more()
            if not self._chunks:
                return b""
            first = self._chunks.popleft()
            if isinstance(first, bytes):
                return first
            self._report_gap(first)

    def _count_handed_out(self) -> None:
        if self._handed_out:
            count, self._handed_out = self._handed_out, 0
            self._consumed(count)

    def _report_gap(self, gap: Gap) -> None:
        if self._on_gap is not None:
            self._on_gap(gap)
            return
        self._error = OutputIncomplete(f"run {self._run_id}: {gap}", run_id=self._run_id, outcome=None)
        self._ended = True
        self.discard()
        raise self._error

    async def _wait_for_more(self) -> None:
        while not self._chunks and not self._ended and not self._discarding:
            if self._waiter is not None and not self._waiter.done():
                raise RuntimeError("another reader is already waiting for this stream")
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            await waiter
        if not self._chunks and self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._callback is not None:
            self._callback()


def _size(chunks: Iterable[bytes | Gap]) -> int:
    return sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes))


class LineSplitter:
    """Cuts chunks into lines that keep their newline, and a line longer than `limit` bytes into chunks of that size."""

    def __init__(self, limit: int = MAX_LINE_CHUNK) -> None:
        self._limit = as_count(limit, "limit", 1)
        self._partial = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines and parts of lines that `chunk` completes."""
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield from self._cut(line + b"\n")
            if self._partial:
                yield self.rest()
        yield from self._cut(rest)

    def rest(self) -> bytes:
        """Return, and forget, the beginning of a line whose newline has not arrived."""
        rest, self._partial = self._partial, b""
        return rest

    def _cut(self, data: bytes) -> Iterator[bytes]:
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
    """An `OutputReceiver` that keeps the first `limit` bytes and throws away the rest: the program can continue."""

    def __init__(self, consumed: Callable[[int], None], limit: int, on_gap: OnGap | None = None) -> None:
        self._consumed = consumed
        self._on_gap = on_gap
        self._chunks: list[bytes] = []
        self._room = limit
        self.truncated = False
        """Whether anything was thrown away."""

    def feed(self, chunk: bytes) -> None:
        """Keep what fits."""
        self._consumed(len(chunk))
        if len(chunk) > self._room:
            self.truncated = True
            chunk = chunk[: self._room]
        if chunk:
            self._room -= len(chunk)
            self._chunks.append(chunk)

    def gap(self, gap: Gap) -> None:
        """Report the gap."""
        if self._on_gap is not None:
            self._on_gap(gap)

    def trim(self, limit: int) -> int:
        """Return 0: nothing is unread here."""
        return 0

    def end(self) -> None:
        """Do nothing; the attachment reports the end."""

    def fail(self, error: Exception) -> None:
        """Do nothing; the attachment reports the error."""

    def discard(self) -> None:
        """Keep nothing more."""
        self._room = 0

    def value(self) -> bytes:
        """Return what was kept."""
        return b"".join(self._chunks)
