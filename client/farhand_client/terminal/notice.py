"""A line of ours on the user's terminal, while a program's output is on it: it goes away without a trace."""

from __future__ import annotations

from .graphics import PLAIN, REVERSE, selecting
from .grid import columns_of
from .screen import Screen
from .sequences import CANCEL

_REVERSE = selecting((*PLAIN[:REVERSE], "7", *PLAIN[REVERSE + 1 :]))


class Notice:
    """Says something in the title and in the last row of the terminal that `screen` is shown on.

    While it is shown, nothing else may be written there, and the screen's size has to stay: hide it first.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._shown = False

    @property
    def shown(self) -> bool:
        """Whether it is on the terminal."""
        return self._shown

    def show(self, text: str) -> bytes:
        """Return what shows `text`, or shows it instead of another, as much of it as there is room for."""
        from .painting import over

        parts = [] if self._shown else ["\x1b[22;2t"]
        words = _harmless(text)
        # What a program was about to say is said again by `hide`; a terminal must not take ours for its rest.
        begin = CANCEL if self._screen.pending and not self._shown else b""
        self._shown = True
        emulator = self._screen.emulator
        parts.append(f"\x1b]2;{words}\x07")
        row = _REVERSE + _filling(words, emulator.columns)
        parts.append(over(emulator, row, self._screen.pending, ready=False))
        return begin + "".join(parts).encode()

    def hide(self) -> bytes:
        """Return what shows the terminal as it was before, ready for what the program says next; b"" where it is so."""
        if not self._shown:
            return b""
        from .painting import content, over

        self._shown = False
        emulator = self._screen.emulator
        # The terminal's own character for a cut one stands in the cursor's row.
        pending = self._screen.pending
        rows = {emulator.rows - 1, emulator.y} if pending >= b"\x80" else {emulator.rows - 1}
        as_before = [
            f"\x1b[{row + 1};1H\x1b[m\x1b[2K{content(emulator.grid.rows[row], emulator.columns)}" for row in rows
        ]
        text = over(emulator, "".join(as_before), pending, ready=True)
        # The terminal's own memory of titles, and where it has none, what the program has said.
        title = self._screen.title
        text += "\x1b[23;2t" + (f"\x1b]2;{title}\x07" if title is not None else "")
        return text.encode() + pending


def _harmless(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and columns_of(char) > 0)


def _filling(text: str, columns: int) -> str:
    """Return `text`, exactly as wide as the row."""
    room = columns
    for at, char in enumerate(text):
        if columns_of(char) > room:
            return text[:at] + " " * room
        room -= columns_of(char)
    return text + " " * room
