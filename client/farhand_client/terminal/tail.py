"""The end of what a program has said to a terminal, and what is seen of it."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

from farhand_protocol.limits import KiB

from .settings import ORIGIN, Settings
from .tracking import followed

if TYPE_CHECKING:
    from .emulator import Emulator

TAIL: Final = 256 * KiB
"""Bytes of output that are kept: dozens of screens of 80 columns, a full one of 500 × 300 with its colours."""

_SMALL: Final = 8 * KiB
"""Pieces are joined up to this size: each costs some hundred bytes besides."""

_MAX_PIECES: Final = 256
"""More than `TAIL` needs, but for a storm of sizes, after each of which another piece begins."""

_CONTINUING: Final = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that are not the first of their character."""

# All but what changes how characters look, erases in its row, or sets a title.
_ELSEWHERE: Final = re.compile(rb"\x1b(?!\[[0-9;:]*[mK]|\([0-~]|\][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\)|\\)")


class Tail:
    """At most 256 KiB, in pieces, at the begin of each of which is known what is set."""

    def __init__(self) -> None:
        self._pieces: deque[_Piece] = deque()
        self._kept = 0

    def add(self, data: bytes, size: tuple[int, int], settings: Settings, partial: bytes) -> None:
        """Keep `data`, at most 256 KiB, which came at this size, with these settings, after an incomplete sequence."""
        last = self._pieces[-1] if self._pieces else None
        if last is None or last.size != size or len(last.data) + len(data) > _SMALL:
            last = _Piece(size, settings, partial)
            self._pieces.append(last)
        last.data += data
        self._kept += len(data)
        while self._kept > TAIL or len(self._pieces) > _MAX_PIECES:
            self._kept -= len(self._pieces.popleft().data)

    def shown(self, size: tuple[int, int], settings: Settings) -> Emulator:
        """Return an emulator that shows what a terminal does now, as far as the tail tells."""
        return self._by_rows(size, settings) or self._by_everything(size, settings)

    def _by_rows(self, size: tuple[int, int], settings: Settings) -> Emulator | None:
        """Look no further back than to the rows that are seen, where a program writes row by row, as `yes` does."""
        if settings.alternate or settings.margins is not None or settings.on(ORIGIN):
            return None
        data = b""
        for piece in reversed(self._pieces):
            if piece.size != size:
                return None
            data = piece.data + data
            at = len(data)
            for _ in range(size[1] + 1):
                at = data.rfind(b"\r\n", 0, max(at, 0))
            if at < 0:
                continue
            at += len(b"\r\n")
            if _ELSEWHERE.search(data, at):
                return None
            return _emulating(size, followed(piece.settings, piece.partial + data[:at]), data[at:])
        return None

    def _by_everything(self, size: tuple[int, int], settings: Settings) -> Emulator:
        if not self._pieces:
            return _emulating(size, settings, b"")
        first, *others = self._pieces
        # Of the first character, the first byte may be among those that are kept no longer.
        begin = first.partial + first.data if first.partial else first.data.lstrip(_CONTINUING)
        emulator = _emulating(first.size, first.settings, begin)
        for piece in others:
            emulator.resize(*piece.size)
            emulator.feed(piece.data)
        emulator.resize(*size)
        return emulator


class _Piece:
    __slots__ = ("data", "partial", "settings", "size")

    def __init__(self, size: tuple[int, int], settings: Settings, partial: bytes) -> None:
        self.size = size
        self.settings = settings
        self.partial = partial
        self.data = b""


def _emulating(size: tuple[int, int], settings: Settings, data: bytes) -> Emulator:
    from .emulator import Emulator

    emulator = Emulator(*size, settings)
    emulator.feed(data)
    return emulator
