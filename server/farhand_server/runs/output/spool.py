"""Spools hold a run's output, addressed by offset, between the pipe that fills them and the attachments that read
them."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, Literal, Protocol, Self

from farhand_server.heap import HeapTrimmer
from farhand_server.sharing import AccountBounds, Tally, bound_by_shares, fair_part

from ..snapshots import Blob, Get, Put, SnapshotRecord

REREAD_SIZE: Final = 64 << 10
"""Bytes that are kept even though every holder of the run has them: a few screens of text for clients that attach
later. Each kept run needs this twice, once for each stream."""

MIN_SPOOL: Final = 1 << 20
"""Bytes that a spool may keep even if the memory for all spools is used up. Clients acknowledge output at least every
512 KiB, so a writer that waits at twice that amount always continues."""

MAX_OFFSET: Final = 1 << 63
"""An offset beyond the end of every stream: the position of a reader that does not want the stream."""

MERGE_SIZE: Final = 16 << 10
"""Size in bytes up to which chunks are joined: a program that writes byte by byte must not cost an object for each
byte."""

RESTORED_CHUNK: Final = 64 << 10
"""Bytes of each chunk of a restored spool. Memory is released in whole chunks."""


class SpoolMemory:
    """The memory used by all spools together, in bytes. Each spool may keep `MIN_SPOOL` even if `used` has reached
    `limit`."""

    def __init__(self, limit: int, heap: HeapTrimmer | None = None, bounds: AccountBounds | None = None) -> None:
        self.limit = limit
        self.bounds = bounds or AccountBounds()
        self.heap = heap or HeapTrimmer()
        self.used = 0
        self.by_user: Final[Tally[int]] = Tally()
        """What the runs of each account use of it."""

    @property
    def used_up(self) -> bool:
        """Whether each spool may keep only `MIN_SPOOL`."""
        return self.used >= self.limit

    def take(self, amount: int) -> None:
        """Count `amount` more as used; a negative amount counts less."""
        self.used += amount

    def of(self, uid: int) -> SpoolMemory:
        """Return an account's part of this memory."""
        return _UserMemory(self, uid)

    def free(self, chunks: list[bytes], size: int, *, unread: bool) -> None:
        """Free chunks of `size` bytes, which count in `used`. If they are `unread`, there may be very many at once."""
        self.take(-size)
        if unread:
            self.heap.discard(chunks, size)
        else:
            self.heap.freed(size)


class _UserMemory(SpoolMemory):
    """One account's part of the memory: what it uses counts in the whole, too, and must leave others their part."""

    def __init__(self, whole: SpoolMemory, uid: int) -> None:
        self._whole = whole
        self.heap = whole.heap
        self._uid = uid
        self._bound = bound_by_shares(uid)

    @property
    def used(self) -> int:
        return self._whole.by_user.of(self._uid)

    @used.setter
    def used(self, amount: int) -> None:
        whole = self._whole
        if change := amount - whole.by_user.of(self._uid):
            whole.used += change
            whole.by_user.add(self._uid, change)

    def take(self, amount: int) -> None:
        if amount:
            self._whole.used += amount
            self._whole.by_user.add(self._uid, amount)

    @property
    def used_up(self) -> bool:
        whole = self._whole
        if not self._bound or whole.used >= whole.limit:
            return whole.used >= whole.limit
        used = whole.by_user.of(self._uid)
        bound = whole.bounds.of(self._uid).memory
        return used >= fair_part(whole.limit, whole.used, used) or (bound is not None and used >= bound)


class ReadableSpool(Protocol):
    """The bytes of one stream, from `start` (the first byte still kept) to `end` (the number of bytes ever written)."""

    @property
    def start(self) -> int:
        """The offset of the first byte that is still kept."""

    @property
    def end(self) -> int:
        """The number of bytes that were ever written."""

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""

    @property
    def touched(self) -> float:
        """When the last bytes arrived or the writer last stopped waiting for readers, on the monotonic clock."""

    @property
    def listeners(self) -> list[Callable[[], None]]:
        """Called after each append, and once at the end of the stream."""

    def read(self, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset` on, no bytes at the end.

        Raises `ValueError` if they are no longer kept.
        """


class Spool(ReadableSpool, Protocol):
    """A `ReadableSpool` that a live run writes or has written.

    The writer must stop while the spool is `full`; `on_room` is called when it may continue.
    """

    touched: float
    on_room: Callable[[], None] | None
    on_failure: Callable[[str], None] | None
    """Called once, with a sentence that says why, when output can no longer be kept. Later output is dropped."""

    @property
    def full(self) -> bool:
        """Whether the writer must wait."""

    @property
    def size(self) -> int:
        """The number of bytes that are kept."""

    def append(self, data: bytes) -> None:
        """Add output. The caller must stop once the spool is `full`."""

    def finish(self) -> None:
        """End the stream."""

    def hold(self, offset: int) -> None:
        """Release output before `offset`, now or as soon as it is written, because every holder of the run has it."""

    def free(self) -> None:
        """Release old output and stop waiting for readers, because nobody holds the run any more."""

    def close(self) -> None:
        """Delete everything that is kept."""


class MemorySpoolSnapshot(SnapshotRecord):
    """The state of a `MemorySpool`; `quiet` is the number of seconds since the last output."""

    kind: Literal["memory"] = "memory"
    limit: int
    start: int
    held: int
    ended: bool
    quiet: float
    free: bool
    data: Blob


class MemorySpool:
    """A `Spool` that makes its writer wait. It keeps up to `limit` unacknowledged bytes, plus one append."""

    def __init__(self, limit: int, memory: SpoolMemory) -> None:
        self.start = 0
        self.end = 0
        self.held = 0
        self.ended = False
        self.touched = time.monotonic()
        self.on_room: Callable[[], None] | None = None
        self.on_failure: Callable[[str], None] | None = None
        self.listeners: list[Callable[[], None]] = []
        self._limit: Final = limit
        self._memory: Final = memory
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._free = False

    def snapshot(self, put: Put) -> MemorySpoolSnapshot:
        """Return the state for `restore`."""
        return MemorySpoolSnapshot(
            limit=self._limit,
            start=self.start,
            held=self.held,
            ended=self.ended,
            quiet=time.monotonic() - self.touched,
            free=self._free,
            data=put(self._chunks),
        )

    @classmethod
    def restore(cls, snapshot: MemorySpoolSnapshot, get: Get, memory: SpoolMemory) -> Self:
        """Return the spool of a snapshot. Raises OSError if its bytes cannot be read."""
        spool = cls(snapshot.limit, memory)
        data = get(snapshot.data)
        spool.start, spool.held, spool.ended = snapshot.start, snapshot.held, snapshot.ended
        spool.end = snapshot.start + len(data)
        spool.touched = time.monotonic() - snapshot.quiet
        spool._free = snapshot.free
        spool._chunks = [data[at : at + RESTORED_CHUNK] for at in range(0, len(data), RESTORED_CHUNK)]
        spool._starts = list(range(snapshot.start, spool.end, RESTORED_CHUNK))
        memory.take(len(data))
        return spool

    @property
    def full(self) -> bool:
        kept = self.end - self.held
        return kept >= MIN_SPOOL and (kept >= self._limit or self._memory.used_up)

    @property
    def size(self) -> int:
        return self.end - self.start

    def append(self, data: bytes) -> None:
        self.touched = time.monotonic()
        if self._chunks and len(self._chunks[-1]) + len(data) <= MERGE_SIZE:
            self._chunks[-1] += data
        else:
            self._starts.append(self.end)
            self._chunks.append(data)
        self.end += len(data)
        self._memory.take(len(data))
        if self.held >= self.end:
            self._hold(self.held)
        for listener in tuple(self.listeners):
            listener()

    def finish(self) -> None:
        if not self.ended:
            self.ended = True
            for listener in tuple(self.listeners):
                listener()

    def read(self, offset: int, limit: int) -> bytes:
        if not self.start <= offset <= self.end:
            raise ValueError(f"offset {offset} is not kept; {self.start} to {self.end} are")
        at = bisect_right(self._starts, offset) - 1
        if offset == self.end or not limit:
            return b""
        first = offset - self._starts[at]
        chunk = self._chunks[at]
        found = chunk[first : first + limit] if first or len(chunk) > limit else chunk
        if len(found) == limit or at + 1 == len(self._chunks):
            return found
        chunks, left = [found], limit - len(found)
        while left and (at := at + 1) < len(self._chunks):
            chunks.append(self._chunks[at][:left])
            left -= len(chunks[-1])
        return b"".join(chunks)

    def hold(self, offset: int) -> None:
        if not self._free:
            self._hold(offset)

    def free(self) -> None:
        self._free = True
        self._hold(MAX_OFFSET, unread=True)

    def close(self) -> None:
        self._drop(len(self._chunks), unread=True)
        self.held = MAX_OFFSET

    def _hold(self, offset: int, *, unread: bool = False) -> None:
        self.held = max(offset, self.start)
        unneeded = min(offset, self.end - REREAD_SIZE)
        # Only whole chunks are released.
        count = bisect_right(self._starts, unneeded) - 1
        if count > 0:
            self._drop(count, unread=unread)
        # Whether the spool was full before cannot be known here, because the memory of all spools may have been used up
        # then.
        if self.on_room is not None and not self.full:
            self.on_room()

    def _drop(self, count: int, *, unread: bool) -> None:
        if not count:
            return  # most runs have no output on stderr, and many none at all
        dropped = self._chunks[:count]
        del self._starts[:count], self._chunks[:count]
        size = sum(map(len, dropped))
        self.start += size
        self._memory.free(dropped, size, unread=unread)


class GoneSpool:
    """A `ReadableSpool` of a run whose output is no longer kept: `end` bytes were written, and none are left."""

    touched = 0.0
    ended = True

    def __init__(self, end: int) -> None:
        self.start = self.end = end
        self.listeners: list[Callable[[], None]] = []

    def read(self, offset: int, limit: int) -> bytes:
        if offset != self.end:
            raise ValueError(f"offset {offset} is not kept; nothing is")
        return b""
