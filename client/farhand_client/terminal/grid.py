"""The characters of one screen, row by row."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias
from unicodedata import category, east_asian_width

from .graphics import PLAIN, Attributes

Cell: TypeAlias = tuple[str, Attributes]
"""A character with what combines with it, and how it looks. The right half of a wide one is ""."""

BLANK: Final[Cell] = (" ", PLAIN)

_COMBINED: Final = 16
"""Characters in one cell: families of emoji have eleven; more would let a cell grow without bound."""


@lru_cache(maxsize=4096)
def columns_of(char: str) -> int:
    """Return how many columns a character takes: 2 where it is wide (UAX #11), 0 where it goes with the one before it,
    -1 where it is none (C1 controls, which would be one to the user's terminal as well)."""
    if east_asian_width(char) in "WF":
        return 2
    kind = category(char)
    if kind in ("Cc", "Zl", "Zp"):
        return -1
    return 0 if kind in ("Mn", "Me", "Cf") and char != "\xad" else 1


class Row:
    """The cells up to the last one that was written; all behind them are `fill`."""

    __slots__ = ("cells", "fill")

    def __init__(self, fill: Cell = BLANK) -> None:
        self.cells: list[Cell] = []
        self.fill = fill

    def at(self, column: int) -> Cell:
        """Return one cell."""
        return self.cells[column] if column < len(self.cells) else self.fill

    def write(self, column: int, cells: list[Cell]) -> None:
        """Put `cells` over what is there; of a wide character that loses one half, the other goes as well."""
        end = column + len(cells)
        self._reach(end)
        self._part(column)
        self._part(end)
        self.cells[column:end] = cells

    def erase(self, start: int, stop: int, blank: Cell) -> None:
        """Make the columns from `start` to before `stop` blank."""
        self.write(start, [blank] * (stop - start))

    def insert(self, column: int, count: int, width: int, blank: Cell) -> None:
        """Shift what is from `column` on to the right; what goes beyond `width` is lost."""
        self._reach(width)
        self._part(column)
        self._part(width - count)
        self.cells[column:] = [blank] * count + self.cells[column : width - count]

    def delete(self, column: int, count: int, width: int, blank: Cell) -> None:
        """Take columns away; what is behind them shifts to the left."""
        self._reach(width)
        self._part(column)
        self._part(column + count)
        self.cells[column:] = self.cells[column + count : width] + [blank] * count

    def combine(self, column: int, char: str) -> None:
        """Add a combining character to the one that is there."""
        if column < len(self.cells):
            text, attributes = self.cells[column]
            if not text and column:
                column -= 1
                text, attributes = self.cells[column]
            if len(text) < _COMBINED:
                self.cells[column] = (text + char, attributes)

    def _reach(self, width: int) -> None:
        if (missing := width - len(self.cells)) > 0:
            self.cells += [self.fill] * missing

    def _part(self, column: int) -> None:
        cells = self.cells
        if 0 < column < len(cells) and not cells[column][0]:
            cells[column] = (" ", cells[column][1])
            cells[column - 1] = (" ", cells[column - 1][1])


class Grid:
    """So many rows."""

    def __init__(self, rows: int) -> None:
        self.rows = [Row() for _ in range(rows)]

    def scroll(self, top: int, bottom: int, count: int, blank: Cell) -> None:
        """Move the rows from `top` to `bottom` up by `count`, down where that is negative."""
        if abs(count) > bottom - top:
            self.clear(top, bottom + 1, blank)
            return
        for _ in range(abs(count)):
            del self.rows[top if count > 0 else bottom]
            self.rows.insert(bottom if count > 0 else top, Row(blank))

    def clear(self, start: int, stop: int, blank: Cell) -> None:
        """Make the rows from `start` to before `stop` blank."""
        self.rows[start:stop] = [Row(blank) for _ in range(stop - start)]

    def resize(self, rows: int, cursor: int) -> int:
        """Have so many rows: the ones at the top go where the cursor would not stay else. Return how many."""
        above = max(0, cursor + 1 - rows)
        del self.rows[:above]
        del self.rows[rows:]
        self.rows += [Row() for _ in range(rows - len(self.rows))]
        return above
