"""The end of what a program has said to a terminal, and what is seen of it."""

from __future__ import annotations

import re
from collections import deque
from itertools import takewhile
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

# All but what stays in its row, changes how characters look, sets a title, or what keys send.
_ELSEWHERE: Final = re.compile(
    rb"\x1b(?!\[[0-9;:]*[mKCDGPX@]|\[\?(?:1|12|25|1004|2004)[hl]|[=>\\]|\([0-~]|\][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\))"
)

_STRINGS: Final = tuple(b"PX^_]")
"""What opens a string: ends of rows in one are not shown."""

_SAVED: Final = re.compile(rb"\x1b(?:(?P<saved>7|\[s|\[\?1048h)|8|\[u|\[\?1048l)")


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
        return self._by_rows(size) or self._by_everything(size, settings)

    def _by_rows(self, size: tuple[int, int]) -> Emulator | None:
        """Look no further back than to where a program has written row by row, on the main screen, twice as many as are
        seen: after half of them all that was there before scrolls away."""
        pieces = list(takewhile(lambda piece: piece.size == size, reversed(self._pieces)))[::-1]
        data = b"".join(piece.data for piece in pieces)
        end = len(data)
        for elsewhere in (*reversed([match.start() for match in _ELSEWHERE.finditer(data)]), -1):
            begin = _rows_before(data, end, size[1], elsewhere + 1)
            end = elsewhere
            if begin < 0 or (elsewhere >= 0 and data[elsewhere + 1] in _STRINGS):
                continue
            settings = _settings_at(pieces, begin)
            if settings.alternate or settings.margins is not None or settings.on(ORIGIN):
                continue
            saved = _SAVED.search(data, begin)
            if saved is not None and saved["saved"] is None:
                return None  # a place that is to be known
            return _emulating(size, settings, data[begin:])
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


def _rows_before(data: bytes, end: int, count: int, start: int) -> int:
    """Return where the first of the last `count` rows that end before `end` begins; -1 where less than as many end
    before it from `start` on."""
    at = end if end - start > 4 * count else -1
    for _ in range(count + 1):
        at = data.rfind(b"\r\n", start, at) if at >= 0 else -1
    return at + 2 if at >= 0 and data.count(b"\r\n", start, at) >= count else -1


def _settings_at(pieces: list[_Piece], offset: int) -> Settings:
    """Return what is set where `offset` bytes of these have come."""
    for piece in pieces:
        if offset <= len(piece.data):
            return followed(piece.settings, piece.partial + piece.data[:offset])
        offset -= len(piece.data)
    raise ValueError("there are not that many")


def _emulating(size: tuple[int, int], settings: Settings, data: bytes) -> Emulator:
    from .emulator import Emulator

    emulator = Emulator(*size, settings)
    emulator.feed(data)
    return emulator
