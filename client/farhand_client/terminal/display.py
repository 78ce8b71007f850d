"""The main and the alternate screen with a cursor: drawing, moving, erasing, scrolling."""

from __future__ import annotations

from typing import Final, NamedTuple

from .grid import DEFAULT_ATTRIBUTES, Cell, Grid, TextAttributes, character_width, erased_attributes
from .settings import AUTOWRAP_MODE, ORIGIN_MODE, TerminalSettings

MAX_SCREEN_SIZE: Final = 1024
"""The most columns and rows that are drawn: twice those of a wall of screens, and still drawn without a delay."""

_LINE_DRAWING: Final = str.maketrans("`abcdefghijklmnopqrstuvwxyz{|}~_", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·\xa0")
"""The special graphics of the VT100 (charset 0)."""


class SavedCursor(NamedTuple):
    """What DECSC saves."""

    x: int
    y: int
    wrapping: bool
    attributes: TextAttributes
    charsets: tuple[str, str]
    shifted: bool
    origin: bool


class Display:
    """Two screens of `columns` and `rows`, one of which is visible, and a cursor at column `x`, row `y`, from 0."""

    def __init__(self, columns: int, rows: int, settings: TerminalSettings) -> None:
        self.columns, self.rows = _clamped(columns), _clamped(rows)
        self.reset(settings)

    def reset(self, settings: TerminalSettings) -> None:
        """Clear both screens and apply `settings`."""
        self.settings = settings.copy()
        self.screens = (Grid(self.rows), Grid(self.rows))
        """The main and the alternate screen."""
        self.seen_main = not settings.alternate
        """Whether the main screen was visible at any time."""
        self.x = self.y = 0
        self.wrapping = False
        """Whether the last column was written last, so that the next character starts another row."""
        self.saved: list[SavedCursor | None] = [None, None]
        """What DECSC has saved on each screen."""
        self.tabs = set(range(8, MAX_SCREEN_SIZE, 8))
        self.last: Cell | None = None
        """The character drawn last, unless it is wide."""
        self.scrolled = 0
        """The number of rows by which the region around the cursor has scrolled up: `y + scrolled` numbers a row for as
        long as it is visible."""

    @property
    def grid(self) -> Grid:
        """The visible screen."""
        return self.screens[bool(self.settings.alternate)]

    @property
    def blank(self) -> Cell:
        """The cell that erasing leaves behind."""
        return (" ", erased_attributes(self.settings.attributes))

    @property
    def region(self) -> tuple[int, int]:
        """The first and the last row of the scrolling region."""
        if self.settings.margins is None:
            return 0, self.rows - 1
        top, bottom = self.settings.margins
        bottom = min(bottom or self.rows, self.rows)
        return (top - 1, bottom - 1) if top < bottom else (0, self.rows - 1)

    # Drawing

    def draw(self, text: str) -> None:
        """Draw characters, none of which may be an ASCII control character."""
        if self.settings.charsets[self.settings.shifted] == "0":
            text = text.translate(_LINE_DRAWING)
        attributes = self.settings.attributes
        if text.isascii():
            self.place([(char, attributes) for char in text])
            return
        cells: list[Cell] = []
        for char in text:
            width = character_width(char)
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
        """Write cells of one column each, and advance the cursor."""
        if not cells:
            return
        self.last = cells[-1]
        wraps = self.settings.is_set(AUTOWRAP_MODE)
        if not wraps and len(cells) > (room := self.columns - self.x):
            cells = [*cells[: room - 1], cells[-1]]
        at = 0
        while at < len(cells):
            if self.wrapping and wraps:
                self._wrap()
            room = self.columns - self.x
            part = cells[at : at + room]
            at += room
            self._write(part)
            self.wrapping = wraps and len(part) == room
            self.x = min(self.x + len(part), self.columns - 1)

    def _place_wide(self, char: str, attributes: TextAttributes) -> None:
        if self.columns < 2:
            return
        self.last = None
        wraps = self.settings.is_set(AUTOWRAP_MODE)
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
        self.move_to_column(0)
        self.index()

    # Moving

    def move_to(self, row: int, column: int) -> None:
        """Move the cursor. In origin mode `row` is relative to the scrolling region, which the cursor cannot leave."""
        top, bottom = self.region if self.settings.is_set(ORIGIN_MODE) else (0, self.rows - 1)
        self.y = min(top + row, bottom)
        self.move_to_column(column)

    def move_to_column(self, column: int) -> None:
        """Move the cursor within its row, at most to the row's ends."""
        self.x = min(max(column, 0), self.columns - 1)
        self.wrapping = False

    def move_vertically(self, rows: int) -> None:
        """Move the cursor down, or up if negative, without leaving the scrolling region."""
        top, bottom = self.region
        first = top if self.y >= top else 0
        last = bottom if self.y <= bottom else self.rows - 1
        self.y = min(max(self.y + rows, first), last)
        self.wrapping = False

    def index(self) -> None:
        """Move to the next row; on the last row of the region, scroll up."""
        top, bottom = self.region
        if self.y == bottom:
            self.grid.scroll(top, bottom, 1, self.blank)
            self.scrolled += 1
        elif self.y < self.rows - 1:
            self.y += 1

    def reverse_index(self) -> None:
        """Move to the previous row; on the first row of the region, scroll down."""
        top, bottom = self.region
        if self.y == top:
            self.grid.scroll(top, bottom, -1, self.blank)
        elif self.y:
            self.y -= 1

    def tab(self, stops: int) -> None:
        """Move forward by `stops` tab stops, or back if negative."""
        for _ in range(min(abs(stops), self.columns)):
            ahead = [stop for stop in self.tabs if (stop > self.x if stops > 0 else stop < self.x)]
            self.move_to_column(min(ahead, default=self.columns - 1) if stops > 0 else max(ahead, default=0))

    # Erasing, inserting, deleting

    def erase_line(self, how: int) -> None:
        """Erase from the cursor to the row's end (0), from the row's start to the cursor (1), or the whole row (2)."""
        start = 0 if how else self.x + self.wrapping
        stop = self.x + 1 if how == 1 else self.columns
        self.grid.rows[self.y].erase(start, stop, self.blank)

    def erase_display(self, how: int) -> None:
        """Erase from the cursor to the screen's end (0), from its start to the cursor (1), or everything (2)."""
        if how < 2:
            self.erase_line(how)
        if how in (0, 1, 2):
            start, stop = ((self.y + 1, self.rows), (0, self.y), (0, self.rows))[how]
            self.grid.clear(start, stop, self.blank)

    def erase_characters(self, count: int) -> None:
        """Erase `count` characters from the cursor on."""
        self.grid.rows[self.y].erase(self.x, min(self.x + count, self.columns), self.blank)

    def insert_characters(self, count: int) -> None:
        """Insert `count` blanks at the cursor; delete characters there if negative."""
        row, room = self.grid.rows[self.y], self.columns - self.x
        (row.insert if count > 0 else row.delete)(self.x, min(abs(count), room), self.columns, self.blank)
        self.wrapping = False

    def insert_rows(self, count: int) -> None:
        """Insert rows at the cursor within the scrolling region; delete rows there if negative."""
        top, bottom = self.region
        if top <= self.y <= bottom:
            self.grid.scroll(self.y, bottom, -count, self.blank)
            self.move_to_column(0)

    def scroll(self, count: int) -> None:
        """Scroll the region up, or down if negative."""
        self.grid.scroll(*self.region, count, self.blank)
        self.scrolled += count

    # The whole screen

    def save_cursor(self) -> None:
        """Save the cursor and what goes with it (DECSC)."""
        now = self.settings
        self.saved[bool(now.alternate)] = SavedCursor(
            self.x, self.y, self.wrapping, now.attributes, now.charsets, now.shifted, now.is_set(ORIGIN_MODE)
        )

    def restore_cursor(self) -> None:
        """Restore the saved cursor, or the default one if none was saved (DECRC)."""
        now = self.settings
        default = SavedCursor(0, 0, False, DEFAULT_ATTRIBUTES, ("B", "B"), False, False)
        saved = self.saved[bool(now.alternate)] or default
        now.modes = {**now.modes, ORIGIN_MODE: saved.origin}
        now.attributes, now.charsets, now.shifted = saved.attributes, saved.charsets, saved.shifted
        self.x, self.y = min(saved.x, self.columns - 1), min(saved.y, self.rows - 1)
        self.wrapping = saved.wrapping and self.x == self.columns - 1

    def resize(self, columns: int, rows: int) -> None:
        """Change the size. Rows keep their characters: terminals that reflow them each do so in their own way."""
        size = _clamped(columns), _clamped(rows)
        if size == (self.columns, self.rows):
            return
        self.columns, self.rows = size
        visible = bool(self.settings.alternate)
        for which, grid in enumerate(self.screens):
            saved = self.saved[which]
            above = grid.resize(self.rows, self.y if which == visible else saved.y if saved else 0)
            if which == visible:
                self.y -= above
        self.settings.margins = None
        self.y = min(self.y, self.rows - 1)
        self.move_to_column(self.x)


def _clamped(size: int) -> int:
    return min(max(size, 1), MAX_SCREEN_SIZE)
