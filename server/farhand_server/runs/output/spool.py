"""A run's output, offset-addressed, between the pipe that fills it and the attachments that read it; in memory."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, Protocol

REREAD_SIZE: Final = 64 << 10
"""Bytes that stay to be read again though everybody who holds the run has them: some screens of text for whoever
attaches later. Times two streams and the runs that are kept."""

MIN_SPOOL: Final = 1 << 20
"""Bytes that a spool may keep even where the memory for all is used up. Clients acknowledge output every 512 KiB at the
latest, so a writer that waits at twice that is always let go on."""

MAX_OFFSET: Final = 1 << 63
"""Beyond every offset: how far a stream is had by whoever does not want it."""

MERGE_SIZE: Final = 16 << 10
"""Chunks are joined up to this size: a program that writes byte by byte must not cost an object for each."""


class SpoolMemory:
    """How much all spools together may keep beyond `MIN_SPOOL` each, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Spool(Protocol):
    """The bytes of one stream, from `start` (the first still kept) to `end` (all that was ever written).

    Whoever fills it stops while it is `full`, and is told by `on_room` whenever something has gone and it is not.
    Listeners are told of new bytes, and once of the end.
    """

    start: int
    end: int
    ended: bool
    touched: float
    """When the last bytes came, or their writer had waited for readers for the last time, on the monotonic clock."""
    on_room: Callable[[], None] | None
    on_failure: Callable[[str], None] | None
    """Told, with a sentence, that output cannot be kept any more. What comes after that is dropped."""
    listeners: list[Callable[[], None]]

    @property
    def full(self) -> bool:
        """Whether the writer has to wait."""

    @property
    def size(self) -> int:
        """Bytes that are kept."""

    def append(self, data: bytes) -> None:
        """Add output. The caller stops once the spool is `full`."""

    def finish(self) -> None:
        """Say that no more output will come."""

    def read(self, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset` on; none at the end. `ValueError` where they are no longer kept."""

    def hold(self, offset: int) -> None:
        """Everybody who holds the run has what is before `offset`: it may go, also what is only written later."""

    def free(self) -> None:
        """Nobody holds the run any more: the writer need not wait for anyone, what is old goes."""

    def close(self) -> None:
        """Forget everything."""


class MemorySpool:
    """A `Spool` that makes its writer wait: it keeps what is not acknowledged, `limit` bytes and one append."""

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

    @property
    def full(self) -> bool:
        """Spool."""
        kept = self.end - self.held
        return kept >= MIN_SPOOL and (kept >= self._limit or self._memory.used >= self._memory.limit)

    @property
    def size(self) -> int:
        """Spool."""
        return self.end - self.start

    def append(self, data: bytes) -> None:
        """Spool."""
        self.touched = time.monotonic()
        if self._chunks and len(self._chunks[-1]) + len(data) <= MERGE_SIZE:
            self._chunks[-1] += data
        else:
            self._starts.append(self.end)
            self._chunks.append(data)
        self.end += len(data)
        self._memory.used += len(data)
        if self.held >= self.end:
            self._hold(self.held)
        for listener in tuple(self.listeners):
            listener()

    def finish(self) -> None:
        """Spool."""
        if not self.ended:
            self.ended = True
            for listener in tuple(self.listeners):
                listener()

    def read(self, offset: int, limit: int) -> bytes:
        """Spool."""
        if not self.start <= offset <= self.end:
            raise ValueError(f"offset {offset} is not kept; {self.start} to {self.end} are")
        at = bisect_right(self._starts, offset) - 1
        if offset == self.end or not limit:
            return b""
        first = offset - self._starts[at]
        chunk = self._chunks[at]
        piece = chunk[first : first + limit] if first or len(chunk) > limit else chunk
        if len(piece) == limit or at + 1 == len(self._chunks):
            return piece
        pieces, left = [piece], limit - len(piece)
        while left and (at := at + 1) < len(self._chunks):
            pieces.append(self._chunks[at][:left])
            left -= len(pieces[-1])
        return b"".join(pieces)

    def hold(self, offset: int) -> None:
        """Spool."""
        if not self._free:
            self._hold(offset)

    def free(self) -> None:
        """Spool."""
        self._free = True
        self._hold(MAX_OFFSET)

    def close(self) -> None:
        """Spool."""
        self._drop(len(self._chunks))
        self.held = MAX_OFFSET

    def _hold(self, offset: int) -> None:
        self.held = max(offset, self.start)
        unneeded = min(offset, self.end - REREAD_SIZE)
        # Whole chunks only.
        count = bisect_right(self._starts, unneeded) - 1
        if count > 0:
            self._drop(count)
        # Whether it was full before is not to be told from here: the memory of all may have been used up then.
        if self.on_room is not None and not self.full:
            self.on_room()

    def _drop(self, count: int) -> None:
        dropped = sum(map(len, self._chunks[:count]))
        del self._starts[:count], self._chunks[:count]
        self.start += dropped
        self._memory.used -= dropped


class GoneSpool:
    """A `Spool` of a run that is over and whose output is not kept any more: `end` bytes, all of them gone."""

    def __init__(self, end: int) -> None:
        self.start = self.end = end
        self.ended = True
        self.touched = 0.0
        self.on_room: Callable[[], None] | None = None
        self.on_failure: Callable[[str], None] | None = None
        self.listeners: list[Callable[[], None]] = []
        self.full = False
        self.size = 0

    def append(self, data: bytes) -> None:
        """Spool."""
        raise AssertionError("a run that is over writes nothing")

    def finish(self) -> None:
        """Spool."""

    def read(self, offset: int, limit: int) -> bytes:
        """Spool."""
        if offset != self.end:
            raise ValueError(f"offset {offset} is not kept; nothing is")
        return b""

    def hold(self, offset: int) -> None:
        """Spool."""

    def free(self) -> None:
        """Spool."""

    def close(self) -> None:
        """Spool."""
