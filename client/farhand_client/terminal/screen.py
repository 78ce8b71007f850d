"""What a program has told the user's terminal, as far as that counts now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from farhand_protocol.limits import KiB

from .sequences import CANCEL, cut_character, incomplete, remembered
from .settings import Settings
from .tail import Tail
from .tracking import followed

if TYPE_CHECKING:
    from .emulator import Emulator

_PIECE: Final = 64 * KiB
"""Bytes that are taken in at once: what one read gives."""

_UNKNOWN: Final = (80, 24)
"""What a terminal has that does not say."""


class Screen:
    """A terminal of `columns` and `rows` (80 and 24 where they are 0, unknown), which is told all that a program says.

    That costs next to nothing: what is to be seen is only worked out once it is asked for, from the last 256 KiB. What
    a program sets is followed all along. After bytes that are lost it goes on as a terminal would.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._size = (columns or _UNKNOWN[0], rows or _UNKNOWN[1])
        self._tail = Tail()
        self._settings = Settings()
        self._partial = b""
        self._last = b""
        self._emulator: Emulator | None = None

    @property
    def columns(self) -> int:
        """As given last."""
        return self._size[0]

    @property
    def rows(self) -> int:
        """As given last."""
        return self._size[1]

    @property
    def title(self) -> str | None:
        """What the program calls the window; None where it has not said."""
        return self._settings.title

    @property
    def alternate(self) -> bool:
        """Whether the alternate screen is shown, as full-screen programs have it."""
        return self._settings.alternate > 0

    @property
    def pending(self) -> bytes:
        """The incomplete sequence or character at the end, at most 4 KiB: said again, what follows completes it.

        Of a longer one, another beginning that what follows completes without effect.
        """
        return self._partial or self._last[cut_character(self._last) :]

    @property
    def emulator(self) -> Emulator:
        """What the terminal shows, as far as the kept output tells; only to be looked at."""
        if self._emulator is None:
            self._emulator = self._tail.shown(self._size, self._settings)
        return self._emulator

    def feed(self, data: bytes) -> None:
        """The program says this."""
        for at in range(0, len(data), _PIECE):
            self._take(data[at : at + _PIECE])

    def resize(self, columns: int, rows: int) -> None:
        """The program's terminal has this size from here on."""
        self._size = (columns or _UNKNOWN[0], rows or _UNKNOWN[1])
        self._emulator = None
        if self._settings.margins is not None:
            self._settings = self._settings.copy()
            self._settings.margins = None

    def undo(self) -> bytes:
        """Return what takes back what the program has set, for what comes next on this terminal; b"" for nothing."""
        return (CANCEL if self.pending else b"") + self._settings.undo().encode()

    def repaint(self, rows: int | None = None) -> bytes:
        """Return what shows all of it on a terminal where nothing is set (see `undo`): characters, cursor, modes.

        What that terminal has shown before scrolls away, one screen at most: `rows`, where it has more than this one.
        Only what is seen is in there: no bell, title or clipboard, and nothing that a terminal answers.
        """
        from .painting import whole

        return whole(self.emulator, max(rows or 0, self.rows)).encode() + self.pending

    def _take(self, data: bytes) -> None:
        self._tail.add(data, self._size, self._settings, self._partial)
        self._emulator = None
        self._last = (self._last + data[-3:])[-3:]
        if self._partial or b"\x1b" in data:
            data = self._partial + data
            cut = incomplete(data)
            data, self._partial = data[:cut], remembered(data[cut:])
        self._settings = followed(self._settings, data)
