"""Cuts a byte stream into frames, wherever the pieces it arrives in begin and end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .frames import FRAME_HEADER
from .limits import HEADER_SIZE


class FrameDecoder:
    """Keeps at most one unfinished frame; `check(kind, length)` refuses a header before its payload is kept."""

    def __init__(self, check: Callable[[int, int], None]) -> None:
        self._check = check
        self._partial = bytearray()

    def frames(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[int, int, bytes]]:
        """Yield `(kind, channel, payload)` of each frame that `data` completes; payloads are copies.

        Has to be exhausted, or the assembler thrown away: what follows the last frame is kept at the end.
        """
        view = memoryview(data)
        if self._partial:
            wanted = self._missing()
            while wanted and view:
                self._partial += view[:wanted]
                view = view[wanted:]
                wanted = self._missing()
            if wanted:
                return
            word, channel = FRAME_HEADER.unpack_from(self._partial)
            payload = bytes(memoryview(self._partial)[HEADER_SIZE:])
            self._partial = bytearray()
            yield word & 0xFF, channel, payload
        position, end = 0, len(view)
        while end - position >= HEADER_SIZE:
            word, channel = FRAME_HEADER.unpack_from(view, position)
            kind, length = word & 0xFF, word >> 8
            self._check(kind, length)
            start = position + HEADER_SIZE
            if end - start < length:
                break
            position = start + length
            yield kind, channel, bytes(view[start:position])
        self._partial += view[position:]

    def _missing(self) -> int:
        have = len(self._partial)
        if have < HEADER_SIZE:
            return HEADER_SIZE - have
        word, _ = FRAME_HEADER.unpack_from(self._partial)
        if have == HEADER_SIZE:
            self._check(word & 0xFF, word >> 8)
        length: int = word >> 8
        return HEADER_SIZE + length - have
