"""Follows a program's output: what is set in the terminal, and what is visible on it.

`ScreenTracker` always follows settings, and keeps the last 256 KiB of output in an `OutputTail`. Only when the visible
screen is requested does an `Emulator` process the tail, and only the part of it that matters. It is kept for the next
request unless much more output follows.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import takewhile
from typing import Final

from farhand_protocol.limits import KiB

from .emulator import Emulator
from .painting import paint_screen
from .sequences import (
    CANCEL_SEQUENCE,
    bounded_partial,
    follow_settings,
    incomplete_character_start,
    incomplete_start,
)
from .settings import ORIGIN_MODE, TerminalSettings

MAX_TAIL: Final = 256 * KiB
"""Bytes of output that are kept: dozens of screens of 80 columns, a full one of 500 × 300 with its colours."""

MAX_BEHIND: Final = 32 * KiB
"""Bytes of output that an emulator which was requested before is fed on the next request, in at most 20 ms; beyond that
another one is made, which processes only the output that matters."""

_FEED_SIZE: Final = 64 * KiB
"""Bytes processed at once: the size of one read."""

_UNKNOWN_SIZE: Final = (80, 24)
"""Columns and rows of a terminal that does not know its size."""

_SMALL_CHUNK: Final = 8 * KiB
"""Output is joined into chunks up to this size: each chunk has an overhead of some hundred bytes."""

_MAX_CHUNKS: Final = 256
"""More than `MAX_TAIL` needs, except in a storm of resizes, each of which starts another chunk."""

_CONTINUATION_BYTES: Final = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that are not the first of their character."""

# Any sequence except those that stay in their row, change attributes, set a title, or change what keys send.
_LEAVES_ROW: Final = re.compile(
    rb"\x1b(?!\[[0-9;:]*[mKCDGPX@]|\[\?(?:1|12|25|1004|2004)[hl]|[=>\\]|\([0-~]|\][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\))"
)

_STRING_OPENERS: Final = tuple(b"PX^_]")
"""The bytes after ESC that open a control string; line ends inside a string are not displayed."""

_CURSOR_SAVES: Final = re.compile(rb"\x1b(?:(?P<saved>7|\[s|\[\?1048h)|8|\[u|\[\?1048l)")


class ScreenTracker:
    """A terminal of `columns` and `rows` (0 is unknown, and means 80 and 24), which is fed all of a program's output.

    Feeding costs next to nothing: the visible screen is computed only on request, from the last 256 KiB. Only what a
    program sets is followed all the time. After lost bytes, the tracker continues as a terminal would.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._size = (columns or _UNKNOWN_SIZE[0], rows or _UNKNOWN_SIZE[1])
        self._tail = OutputTail()
        self._settings = TerminalSettings()
        self._partial = b""
        self._last = b""
        self._emulator: Emulator | None = None
        self._behind: list[bytes] = []
        self._behind_size = 0

    @property
    def columns(self) -> int:
        """The current number of columns."""
        return self._size[0]

    @property
    def rows(self) -> int:
        """The current number of rows."""
        return self._size[1]

    @property
    def title(self) -> str | None:
        """The window title that the program has set; None if it has not set one."""
        return self._settings.title

    @property
    def alternate(self) -> bool:
        """Whether the alternate screen is shown, as full-screen programs do."""
        return self._settings.alternate > 0

    @property
    def pending(self) -> bytes:
        """The incomplete sequence or character at the end, at most 4 KiB: if it is written again, what follows
        completes it.

        If it is longer, this is the short beginning of another sequence, which what follows completes without effect.
        """
        return self._partial or self._last[incomplete_character_start(self._last) :]

    @property
    def emulator(self) -> Emulator:
        """The visible screen, as far as the kept output determines it. Treat as read-only."""
        if self._emulator is None:
            self._emulator = self._tail.emulate(self._size, self._settings)
        elif self._behind:
            self._emulator.feed(b"".join(self._behind))
        self._behind, self._behind_size = [], 0
        return self._emulator

    @property
    def behind(self) -> int:
        """How many bytes of output `emulator` processes if it is requested now, at most."""
        return self._tail.size if self._emulator is None else self._behind_size

    def feed(self, data: bytes) -> None:
        """Process output of the program."""
        for at in range(0, len(data), _FEED_SIZE):
            self._feed_part(data[at : at + _FEED_SIZE])

    def resize(self, columns: int, rows: int) -> None:
        """Change the size; output fed from now on was made for it."""
        self._size = (columns or _UNKNOWN_SIZE[0], rows or _UNKNOWN_SIZE[1])
        self._drop_emulator()
        if self._settings.margins is not None:
            self._settings = self._settings.copy()
            self._settings.margins = None

    def undo_sequence(self) -> bytes:
        """Return the sequence that undoes what the program has set, for whatever uses this terminal next; b"" if
        nothing is set."""
        return (CANCEL_SEQUENCE if self.pending else b"") + self._settings.undo_sequence().encode()

    def repaint(self, rows: int | None = None) -> bytes:
        """Return the output that restores the screen (characters, cursor, modes) on a terminal where nothing is set
        (see `undo_sequence`).

        The previous contents of that terminal scroll away, by at most one screen. `rows` is its height, if it is larger
        than this tracker's.

        The output contains only what is visible: no bell, title or clipboard, and nothing that a terminal answers.
        """
        return paint_screen(self.emulator, max(rows or 0, self.rows)).encode() + self.pending

    def _feed_part(self, data: bytes) -> None:
        self._tail.add(data, self._size, self._settings, self._partial)
        if self._emulator is not None:
            self._behind.append(data)
            self._behind_size += len(data)
            if self._behind_size > MAX_BEHIND:
                self._drop_emulator()
        self._last = (self._last + data[-3:])[-3:]
        if self._partial or b"\x1b" in data:
            data = self._partial + data
            cut = incomplete_start(data)
            data, partial = data[:cut], data[cut:]
            self._partial = bounded_partial(partial)
            if self._partial is not partial:
                self._drop_emulator()  # it would keep all of the sequence
        self._settings = follow_settings(self._settings, data)

    def _drop_emulator(self) -> None:
        self._emulator = None
        self._behind, self._behind_size = [], 0


class OutputTail:
    """The last 256 KiB of output at most, in chunks; the settings at the start of each chunk are known."""

    def __init__(self) -> None:
        self._chunks: deque[_TailChunk] = deque()
        self.size = 0
        """The number of bytes kept."""

    def add(self, data: bytes, size: tuple[int, int], settings: TerminalSettings, partial: bytes) -> None:
        """Append `data`, at most 256 KiB, which came at this size, with these settings, after an incomplete sequence
        `partial`."""
        last = self._chunks[-1] if self._chunks else None
        if last is None or last.size != size or len(last.data) + len(data) > _SMALL_CHUNK:
            last = _TailChunk(size, settings, partial)
            self._chunks.append(last)
        last.data += data
        self.size += len(data)
        while self.size > MAX_TAIL or len(self._chunks) > _MAX_CHUNKS:
            self.size -= len(self._chunks.popleft().data)

    def emulate(self, size: tuple[int, int], settings: TerminalSettings) -> Emulator:
        """Return an emulator in the terminal's current state, as far as the tail determines it."""
        return self._emulate_last_rows(size) or self._emulate_all(size, settings)

    def _emulate_last_rows(self, size: tuple[int, int]) -> Emulator | None:
        """Emulate only the last part in which the program wrote row by row on the main screen, twice as many rows as
        are visible: after half of these rows, everything older has scrolled away. None if there is no such part."""
        chunks = list(takewhile(lambda chunk: chunk.size == size, reversed(self._chunks)))[::-1]
        data = b"".join(chunk.data for chunk in chunks)
        end = len(data)
        for elsewhere in (*reversed([match.start() for match in _LEAVES_ROW.finditer(data)]), -1):
            begin = _start_of_last_rows(data, end, size[1], elsewhere + 1)
            end = elsewhere
            if begin < 0 or (elsewhere >= 0 and data[elsewhere + 1] in _STRING_OPENERS):
                continue
            settings = _settings_at(chunks, begin)
            if settings.alternate or settings.margins is not None or settings.is_set(ORIGIN_MODE):
                continue
            saved = _CURSOR_SAVES.search(data, begin)
            if saved is not None and saved["saved"] is None:
                return None  # it restores a cursor that was saved before `begin`
            return _emulate(size, settings, data[begin:])
        return None

    def _emulate_all(self, size: tuple[int, int], settings: TerminalSettings) -> Emulator:
        if not self._chunks:
            return _emulate(size, settings, b"")
        first, *others = self._chunks
        # The first bytes of the first character may already have been dropped.
        begin = first.partial + first.data if first.partial else first.data.lstrip(_CONTINUATION_BYTES)
        emulator = _emulate(first.size, first.settings, begin)
        for chunk in others:
            emulator.resize(*chunk.size)
            emulator.feed(chunk.data)
        emulator.resize(*size)
        return emulator


class _TailChunk:
    __slots__ = ("data", "partial", "settings", "size")

    def __init__(self, size: tuple[int, int], settings: TerminalSettings, partial: bytes) -> None:
        self.size = size
        self.settings = settings
        self.partial = partial
        self.data = b""


def _start_of_last_rows(data: bytes, end: int, count: int, start: int) -> int:
    """Return the offset of the first of the last `count` rows that end before `end`.

    -1 if fewer than `count` rows precede it from `start` on.
    """
    at = end if end - start > 4 * count else -1
    for _ in range(count + 1):
        at = data.rfind(b"\r\n", start, at) if at >= 0 else -1
    return at + 2 if at >= 0 and data.count(b"\r\n", start, at) >= count else -1


def _settings_at(chunks: list[_TailChunk], offset: int) -> TerminalSettings:
    """Return the settings after the first `offset` bytes of `chunks`."""
    for chunk in chunks:
        if offset <= len(chunk.data):
            return follow_settings(chunk.settings, chunk.partial + chunk.data[:offset])
        offset -= len(chunk.data)
    raise ValueError("the offset is beyond the chunks")


def _emulate(size: tuple[int, int], settings: TerminalSettings, data: bytes) -> Emulator:
    emulator = Emulator(*size, settings)
    emulator.feed(data)
    return emulator
