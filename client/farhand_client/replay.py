"""Both output streams of one attachment as one sequence of chunks and gaps, in the order they came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from farhand_protocol import messages as m

from .attachment import Attachment
from .errors import RunGoesOn
from .pieces import Chunk, Gap, Output

if TYPE_CHECKING:
    from .line import Line


async def replay(line: Line, opening: m.Attach) -> AsyncGenerator[Chunk | Gap, None]:
    """Attach, give what comes, and leave. Raises what the attachment fails with."""
    attachment = Attachment(line, opening, tolerant=True)
    pieces: deque[Chunk | Gap] = deque()
    more = asyncio.Event()
    wanted: dict[Output, int | None] = {"stdout": opening.stdout, "stderr": opening.stderr}
    for stream, offset in wanted.items():
        if offset is not None:
            attachment.receive(stream, _Half(stream, offset, pieces, more), offset)
    attachment.ended.add_done_callback(lambda _: more.set())
    attachment.begin()
    try:
        while pieces or not attachment.ended.done():
            while pieces:
                piece = pieces.popleft()
                yield piece
                if isinstance(piece, Chunk):
                    attachment.take(piece.stream, len(piece.data))
            if not attachment.ended.done():
                more.clear()
                await more.wait()
        error = attachment.ended.exception()
        if error is not None and not isinstance(error, RunGoesOn):
            raise error
    finally:
        attachment.detach()


class _Half:
    """The receiver of one stream."""

    def __init__(self, stream: Output, offset: int, pieces: deque[Chunk | Gap], more: asyncio.Event) -> None:
        self._stream = stream
        self._offset = offset
        self._pieces = pieces
        self._more = more

    def feed(self, chunk: bytes) -> None:
        """Receiver."""
        self._pieces.append(Chunk(self._stream, self._offset, chunk))
        self._offset += len(chunk)
        self._more.set()

    def gap(self, gap: Gap) -> None:
        """Receiver."""
        self._pieces.append(gap)
        self._offset = gap.offset + gap.bytes
        self._more.set()

    def trim(self, limit: int) -> int:
        """Receiver."""
        mine = [piece for piece in self._pieces if piece.stream == self._stream]
        above = sum(len(piece.data) for piece in mine if isinstance(piece, Chunk)) - limit
        dropped = 0
        while dropped < above and isinstance(last := mine.pop(), Chunk):
            dropped += len(last.data)
            self._pieces.remove(last)
        self._offset -= dropped
        return dropped

    def end(self) -> None:
        """Receiver. The attachment's end is what counts."""

    def fail(self, error: Exception) -> None:
        """Receiver."""

    def discard(self) -> None:
        """Receiver. Nobody reads what still waits: the generator is closed."""
