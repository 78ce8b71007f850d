"""A run's output, offset-addressed, between the pipe that fills it and the attachment that reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final


class Spool:
    """The bytes of one stream, from `start` (the first still kept) to `end` (all that was ever written).

    Bounded by `limit` bytes plus one append: whoever fills it stops while it is `full`, and is told by `on_room`
    when that has passed. Whoever reads it is told of new bytes by `on_output`, and of the end by `on_end`.
    """

    def __init__(self, limit: int) -> None:
        self.start = 0
        self.end = 0
        self.ended = False
        self.on_room: Callable[[], None] | None = None
        self.on_output: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._limit: Final = limit
        self._chunks: deque[bytes] = deque()
        self._discarding = False

    @property
    def full(self) -> bool:
        """Whether the writer has to wait."""
        return self.end - self.start >= self._limit

    def append(self, data: bytes) -> None:
        """Add output. The caller stops once the spool is `full`."""
        self.end += len(data)
        if self._discarding:
            self.start = self.end
            return
        self._chunks.append(data)
        if self.on_output is not None:
            self.on_output()

    def finish(self) -> None:
        """Say that no more output will come."""
        self.ended = True
        if self.on_end is not None:
            self.on_end()

    def read(self, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset` on; none at the end. `ValueError` where they are no longer kept."""
        if not self.start <= offset <= self.end:
            raise ValueError(f"offset {offset} is not kept; {self.start} to {self.end} are")
        position = self.start
        pieces: list[bytes] = []
        for chunk in self._chunks:
            first = max(0, offset - position)
            position += len(chunk)
            if first >= len(chunk):
                continue
            piece = chunk[first : first + limit]
            pieces.append(piece)
            offset += len(piece)
            limit -= len(piece)
            if limit == 0:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self, offset: int) -> None:
        """Forget what is before `offset`, as far as whole chunks go."""
        was_full = self.full
        while self._chunks and self.start + len(self._chunks[0]) <= offset:
            self.start += len(self._chunks.popleft())
        if was_full and not self.full and self.on_room is not None:
            self.on_room()

    def discard(self) -> None:
        """Forget everything, now and to come: nobody will read it, and the writer must not wait."""
        self._discarding = True
        self.on_output = self.on_end = None
        self.release(self.end)
