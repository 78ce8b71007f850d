"""Shows predicted cells on the user's terminal, and takes them back without a trace.

The output moves the cursor only within its row and only by relative steps: where the program's first row is on the
terminal is unknown, and a terminal that reflows its rows after a resize may show them elsewhere than an emulator does.
"""

from __future__ import annotations

import re
from typing import Final

from .emulator import Emulator
from .grid import BLANK_CELL, UNDERLINE, Cell, TextAttributes, character_width, sgr_sequence
from .prediction import Predicted
from .settings import CURSOR_MODE, SIDE_MARGINS_MODE, SYNCHRONIZED_MODE

_PLAIN_TEXT: Final = re.compile(rb"[ -~]*")
"""Output that does nothing but replace cells, unless it reaches the end of the row."""

_NEEDS_LAST_CHARACTER: Final = re.compile(rb"[\x80-\xff]|\x1b\[[0-9]*b")
"""Output that may belong to the character before it: one that combines with it, or a sequence that repeats it."""


class Overlay:
    """What is predicted and shown on a terminal that otherwise shows `screen`, up to its program's last output.

    While anything is shown, write the result of `hide` or `make_way` before anything else.
    """

    def __init__(self) -> None:
        self._cells: dict[int, Cell] = {}
        self._column: int | None = None

    @property
    def shown(self) -> bool:
        """Whether anything predicted is on the terminal."""
        return self._column is not None

    def show(self, predicted: Predicted | None, screen: Emulator) -> bytes:
        """Return the output that shows `predicted`, its cells underlined, in place of what is shown."""
        cells, column = self._cells, self._column
        if predicted is None or not _may_show(screen):
            wanted: dict[int, Cell] = {}
            self._column = None
        else:
            row = screen.grid.rows[screen.y]
            wanted = {
                at: (text, _underlined(attributes))
                for at, (text, attributes) in predicted.cells.items()
                if at < screen.columns - 1 and _is_narrow(row.at(at)) and row.at(at + 1)[0]
            }
            self._column = min(predicted.column, screen.columns - 1)
        self._cells = wanted
        writer = _RowWriter(screen, screen.x if column is None else column)
        for at in sorted(cells.keys() | wanted.keys()):
            cell = wanted.get(at)
            if cell is None:
                writer.restore(at)
            elif cell != cells.get(at):
                writer.write(at, cell)
        writer.move(screen.x if self._column is None else self._column)
        return writer.output()

    def hide(self, screen: Emulator) -> bytes:
        """Return the output that restores the row and the cursor."""
        return self.show(None, screen) if self.shown else b""

    def make_way(self, following: bytes, screen: Emulator) -> bytes:
        """Return what to write before the program's output `following`. Call `show` once `screen` was fed with it.

        Most output is an echo, which replaces what is predicted: then the rest of it remains shown.
        """
        if self._column is None:
            return b""
        end = screen.x + len(following)
        if _PLAIN_TEXT.fullmatch(following) is None or end >= screen.columns - 1:
            output = self.hide(screen)
            return output + _last_character(screen) if _NEEDS_LAST_CHARACTER.match(following) else output
        writer = _RowWriter(screen, self._column)
        writer.move(screen.x)
        self._cells = {at: cell for at, cell in self._cells.items() if not screen.x <= at < end}
        self._column = end
        return writer.output()

    def forget(self) -> None:
        """Note that nothing is shown any more: the terminal was painted anew."""
        self._cells, self._column = {}, None


class _RowWriter:
    """Collects output for the cursor's row of `screen`, while the terminal's cursor is at `column`."""

    def __init__(self, screen: Emulator, column: int) -> None:
        self._screen = screen
        self._row = screen.grid.rows[screen.y]
        self._column = column
        self._parts: list[str] = []
        self._attributes: TextAttributes = screen.settings.attributes

    def move(self, column: int) -> None:
        if steps := column - self._column:
            self._parts.append("\b" * -steps if -4 < steps < 0 else f"\x1b[{abs(steps)}{'C' if steps > 0 else 'D'}")
        self._column = column

    def write(self, column: int, cell: Cell) -> None:
        self.move(column)
        text, attributes = cell
        self._select(attributes)
        self._parts.append(text)
        self._column += 1

    def restore(self, column: int) -> None:
        """Write what the screen has in `column`. A blank end of the row is erased: it must not turn into spaces."""
        if column < self._blank_from():
            self.write(column, self._row.at(column))
            return
        self.move(column)
        self._select(self._row.fill[1])
        self._parts.append("\x1b[X")

    def output(self) -> bytes:
        self._select(self._screen.settings.attributes)
        return "".join(self._parts).encode()

    def _select(self, attributes: TextAttributes) -> None:
        if attributes != self._attributes:
            self._parts.append(sgr_sequence(attributes))
            self._attributes = attributes

    def _blank_from(self) -> int:
        """Return the first column from which on the row is blank."""
        cells = self._row.cells
        end = len(cells)
        while end and cells[end - 1] == self._row.fill:
            end -= 1
        return end


def _may_show(screen: Emulator) -> bool:
    """Whether a terminal that shows `screen` can be written to without a lasting effect, where it shows a cursor."""
    settings = screen.settings
    return (
        settings.is_set(CURSOR_MODE)
        and not settings.is_set(SIDE_MARGINS_MODE)
        and not settings.is_set(SYNCHRONIZED_MODE)
        and not (screen.wrapping or settings.insert or settings.shifted)
        and settings.charsets[0] == "B"
    )


def _last_character(screen: Emulator) -> bytes:
    """Return the output that writes the character before the cursor again."""
    cell = screen.grid.rows[screen.y].at(screen.x - 1) if screen.x else BLANK_CELL
    if not screen.x or not _is_narrow(cell):
        return b""
    return f"\b{sgr_sequence(cell[1])}{cell[0]}{sgr_sequence(screen.settings.attributes)}".encode()


def _underlined(attributes: TextAttributes) -> TextAttributes:
    return (*attributes[:UNDERLINE], "4", *attributes[UNDERLINE + 1 :])


def _is_narrow(cell: Cell) -> bool:
    return len(cell[0]) == 1 and character_width(cell[0]) == 1
