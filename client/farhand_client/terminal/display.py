"""A cursor on a screen, and what it does there: draw, move, erase, scroll."""

from __future__ import annotations

from typing import Final, NamedTuple

from .graphics import PLAIN, Attributes, erased
from .grid import Cell, Grid, columns_of
from .settings import AUTOWRAP, ORIGIN, Settings

LARGEST: Final = 1024
"""Columns and rows that are drawn: twice what a wall of screens shows, and little enough to draw at once."""

_LINES: Final = str.maketrans("`abcdefghijklmnopqrstuvwxyz{|}~_", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·\xa0")
"""The special graphics of the VT100 (charset 0)."""


class Saved(NamedTuple):
    """What DECSC saves."""

    x: int
    y: int
    wrapping: bool
    attributes: Attributes
    charsets: tuple[str, str]
    shifted: bool
    origin: bool


class Display:
    """Two screens of `columns` and `rows`, of which one is shown, and the cursor, at column `x` of row `y`, from 0."""

    def __init__(self, columns: int, rows: int, settings: Settings) -> None:
        self.columns, self.rows = _bounded(columns), _bounded(rows)
        self.reset(settings)

    def reset(self, settings: Settings) -> None:
        """Empty both screens; `settings` are set from now on."""
        self.settings = settings.copy()
        self.screens = (Grid(self.rows), Grid(self.rows))
        """The main and the alternate one."""
        self.seen_main = not settings.alternate
        """Whether the main screen was shown at any time."""
        self.x = self.y = 0
        self.wrapping = False
        """Whether the last column was written last, so that the next character begins another row."""
        self.saved: list[Saved | None] = [None, None]
        """On each screen, what DECSC has saved."""
        self.tabs = set(range(8, LARGEST, 8))
        self.last: Cell | None = None
        """The character drawn last, if it is not wide."""

    @property
    def grid(self) -> Grid:
        """The screen that is shown."""
        return self.screens[bool(self.settings.alternate)]

    @property
    def blank(self) -> Cell:
        """What is left where something is erased."""
        return (" ", erased(self.settings.attributes))

    @property
    def region(self) -> tuple[int, int]:
        """The first and the last row that scroll."""
        if self.settings.margins is None:
            return 0, self.rows - 1
        top, bottom = self.settings.margins
        bottom = min(bottom or self.rows, self.rows)
        return (top - 1, bottom - 1) if top < bottom else (0, self.rows - 1)

    # Drawing

    def draw(self, text: str) -> None:
        """Write characters, none of them a control character of ASCII."""
        if self.settings.charsets[self.settings.shifted] == "0":
            text = text.translate(_LINES)
        attributes = self.settings.attributes
        if text.isascii():
            self.place([(char, attributes) for char in text])
            return
        cells: list[Cell] = []
        for char in text:
            width = columns_of(char)
            if width == 1:
                cells.append((char, attributes))
                continue
            self.place(cells)
            cells = []
            if width == 2:
                self._place_wide(char, attributes)
            elif width == 0 and (self.x or self.wrapping):
                self.grid.rows[self.y].combine(self.x if self.wrapping else self.x - 1, char)
        self.place(cells)

    def place(self, cells: list[Cell]) -> None:
        """Write cells, each of one column, and advance the cursor."""
        if not cells:
            return
        self.last = cells[-1]
        wraps = self.settings.on(AUTOWRAP)
        if not wraps and len(cells) > (room := self.columns - self.x):
            cells = [*cells[: room - 1], cells[-1]]
        at = 0
        while at < len(cells):
            if self.wrapping and wraps:
                self._wrap()
            room = self.columns - self.x
            piece = cells[at : at + room]
            at += room
            self._write(piece)
            self.wrapping = wraps and len(piece) == room
            self.x = min(self.x + len(piece), self.columns - 1)

    def _place_wide(self, char: str, attributes: Attributes) -> None:
        if self.columns < 2:
            return
        self.last = None
        wraps = self.settings.on(AUTOWRAP)
        if self.x == self.columns - 1:
            if wraps:
                self._wrap()
            else:
                self.x -= 1
        self._write([(char, attributes), ("", attributes)])
        self.wrapping = wraps and self.x == self.columns - 2
        self.x = min(self.x + 2, self.columns - 1)

    def _write(self, cells: list[Cell]) -> None:
        row = self.grid.rows[self.y]
        if self.settings.insert:
            row.insert(self.x, len(cells), self.columns, self.blank)
        row.write(self.x, cells)

    def _wrap(self) -> None:
        self.to_column(0)
        self.index()

    # Moving

    def to(self, row: int, column: int) -> None:
        """Go there; in origin mode, `row` counts from the scrolling region's first, and that is not left."""
        top, bottom = self.region if self.settings.on(ORIGIN) else (0, self.rows - 1)
        self.y = min(top + row, bottom)
        self.to_column(column)

    def to_column(self, column: int) -> None:
        """Go to a column of this row, as far as there is one."""
        self.x = min(max(column, 0), self.columns - 1)
        self.wrapping = False

    def vertically(self, rows: int) -> None:
        """Go down, up where negative; not out of the scrolling region."""
        top, bottom = self.region
        first = top if self.y >= top else 0
        last = bottom if self.y <= bottom else self.rows - 1
        self.y = min(max(self.y + rows, first), last)
        self.wrapping = False

    def index(self) -> None:
        """Go to the next row, by scrolling where this is the last of the region."""
        top, bottom = self.region
        if self.y == bottom:
            self.grid.scroll(top, bottom, 1, self.blank)
        elif self.y < self.rows - 1:
            self.y += 1

    def reverse_index(self) -> None:
        """Go to the row before, by scrolling where this is the first of the region."""
        top, bottom = self.region
        if self.y == top:
            self.grid.scroll(top, bottom, -1, self.blank)
        elif self.y:
            self.y -= 1

    def tab(self, stops: int) -> None:
        """Go so many tab stops on, back where negative."""
        for _ in range(min(abs(stops), self.columns)):
            ahead = [stop for stop in self.tabs if (stop > self.x if stops > 0 else stop < self.x)]
            self.to_column(min(ahead, default=self.columns - 1) if stops > 0 else max(ahead, default=0))

    # Erasing, inserting, deleting

    def erase_line(self, how: int) -> None:
        """Erase from the cursor on (0), up to it (1), or the row (2)."""
        start = 0 if how else self.x + self.wrapping
        stop = self.x + 1 if how == 1 else self.columns
        self.grid.rows[self.y].erase(start, stop, self.blank)

    def erase_display(self, how: int) -> None:
        """Erase from the cursor on (0), up to it (1), or everything (2)."""
        if how < 2:
            self.erase_line(how)
        if how in (0, 1, 2):
            start, stop = ((self.y + 1, self.rows), (0, self.y), (0, self.rows))[how]
            self.grid.clear(start, stop, self.blank)

    def erase_characters(self, count: int) -> None:
        """Erase so many from the cursor on."""
        self.grid.rows[self.y].erase(self.x, min(self.x + count, self.columns), self.blank)

    def insert_characters(self, count: int) -> None:
        """Make room for so many at the cursor; with a negative count, take them away there."""
        row, room = self.grid.rows[self.y], self.columns - self.x
        (row.insert if count > 0 else row.delete)(self.x, min(abs(count), room), self.columns, self.blank)
        self.wrapping = False

    def insert_rows(self, count: int) -> None:
        """Insert rows at the cursor, within the scrolling region; with a negative count, take them away there."""
        top, bottom = self.region
        if top <= self.y <= bottom:
            self.grid.scroll(self.y, bottom, -count, self.blank)
            self.to_column(0)

    def scroll(self, count: int) -> None:
        """Scroll the region up, down where negative."""
        self.grid.scroll(*self.region, count, self.blank)

    # The whole screen

    def save(self) -> None:
        """DECSC."""
        now = self.settings
        self.saved[bool(now.alternate)] = Saved(
            self.x, self.y, self.wrapping, now.attributes, now.charsets, now.shifted, now.on(ORIGIN)
        )

    def restore(self) -> None:
        """DECRC."""
        now = self.settings
        saved = self.saved[bool(now.alternate)] or Saved(0, 0, False, PLAIN, ("B", "B"), False, False)
        now.modes = {**now.modes, ORIGIN: saved.origin}
        now.attributes, now.charsets, now.shifted = saved.attributes, saved.charsets, saved.shifted
        self.x, self.y = min(saved.x, self.columns - 1), min(saved.y, self.rows - 1)
        self.wrapping = saved.wrapping and self.x == self.columns - 1

    def resize(self, columns: int, rows: int) -> None:
        """Have another size. Rows keep their characters: a terminal that reflows them does it in a way of its own."""
        size = _bounded(columns), _bounded(rows)
        if size == (self.columns, self.rows):
            return
        self.columns, self.rows = size
        shown = bool(self.settings.alternate)
        for which, grid in enumerate(self.screens):
            saved = self.saved[which]
            above = grid.resize(self.rows, self.y if which == shown else saved.y if saved else 0)
            if which == shown:
                self.y -= above
        self.settings.margins = None
        self.y = min(self.y, self.rows - 1)
        self.to_column(self.x)


def _bounded(size: int) -> int:
    return min(max(size, 1), LARGEST)
