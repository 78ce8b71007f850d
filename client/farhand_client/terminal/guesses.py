"""Guesses of what cells of a screen will contain and where its cursor will be, and whether they were right.

Rows are numbered from the first one ever shown (`Display.scrolled`), so that guesses scroll with the text. `screen` is
always the screen as the program's output has left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from .emulator import Emulator
from .grid import BLANK_CELL, Cell, TextAttributes

_MASKS: Final = frozenset("*\N{BULLET}\N{BLACK CIRCLE}")
"""Characters that hide a password: one that contains them proves nothing."""

_TEXT_END: Final = 4
"""Blanks after which the row's text is not part of the line that is being edited."""


@dataclass(slots=True)
class Guess:
    """What one cell is expected to contain: `text` is None if it will change in an unknown way.

    The guess can be judged once the input number `settled_by` is settled. `before` is what the cell has contained or
    was expected to contain since it was last judged: finding that again proves nothing.
    """

    text: str | None
    attributes: TextAttributes
    epoch: int
    settled_by: int
    before: frozenset[str]


class CursorGuess(NamedTuple):
    """Where the cursor is expected, by number of the row and column."""

    row: int
    column: int
    epoch: int
    settled_by: int


class Verdict(NamedTuple):
    """Whether all guesses that could be judged were right, and the last epoch of which one has proved right."""

    right: bool
    proven: int = 0


class Guesses:
    """All guesses that are not yet judged; false if there are none."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[int, Guess]] = {}
        self.cursors: list[CursorGuess] = []

    def __bool__(self) -> bool:
        return bool(self.cursors or self.rows)

    def clear(self) -> None:
        """Drop all of them."""
        self.rows.clear()
        self.cursors.clear()

    def cell(self, row: int, column: int, screen: Emulator) -> Cell | None:
        """Return what a cell is expected to contain, or contains if nothing else is expected; None if unknown."""
        guess = self.rows.get(row, {}).get(column)
        if guess is None:
            return actual_cell(row, column, screen)
        return None if guess.text is None else (guess.text, guess.attributes)

    def text_end(self, row: int, column: int, screen: Emulator) -> int:
        """Return the column after the text that begins at `column`; an unknown cell counts as text."""
        end, blanks = column, 0
        for at in range(column, screen.columns):
            cell = self.cell(row, at, screen)
            if cell is not None and cell[0] == " ":
                blanks += 1
                if blanks == _TEXT_END:
                    break
            else:
                end, blanks = at + 1, 0
        return end

    def expect(self, row: int, column: int, cell: Cell | None, epoch: int, number: int, screen: Emulator) -> None:
        """Guess that input `number` makes a cell contain `cell`; None if it becomes unknown."""
        cells = self.rows.setdefault(row, {})
        earlier = cells.get(column)
        before = frozenset((actual_cell(row, column, screen)[0],))
        if earlier is not None and earlier.text is not None:
            before |= earlier.before | {earlier.text}
        text, attributes = (None, BLANK_CELL[1]) if cell is None else cell
        cells[column] = Guess(text, attributes, epoch, number, before)

    def judge_cells(self, settled: int, confirmed: int, screen: Emulator) -> Verdict:
        """Judge and remove the guesses of cells that the inputs up to `settled` have caused."""
        proven = confirmed
        for number, row in list(self.rows.items()):
            for column, guess in sorted(row.items()):
                if guess.settled_by > settled:
                    continue
                del row[column]
                if number < screen.scrolled or guess.text is None or guess.text == " ":
                    continue  # a blank proves too little to count, for or against
                text, attributes = actual_cell(number, column, screen)
                if text != guess.text:
                    return Verdict(False, proven)
                if text not in guess.before and text not in _MASKS:
                    proven = max(proven, guess.epoch)
                for at, other in row.items():
                    if at > column:
                        other.attributes = attributes
            if not row:
                del self.rows[number]
        return Verdict(True, proven)

    def judge_cursor(self, settled: int, screen: Emulator) -> bool:
        """Whether the cursor is where it was last expected, if that can be judged; forget where it was expected
        before."""
        last = self.cursors[-1] if self.cursors else None
        self.cursors = [guess for guess in self.cursors if guess.settled_by > settled]
        return last is None or last.settled_by > settled or (last.row, last.column) == cursor_of(screen)


def cursor_of(screen: Emulator) -> tuple[int, int]:
    """Return where the next character goes: at the beginning of the next row once the last column is written."""
    row = screen.y + screen.scrolled
    return (row + 1, 0) if screen.wrapping else (row, screen.x)


def actual_cell(row: int, column: int, screen: Emulator) -> Cell:
    """Return what the cell of a numbered row contains; a row that is not visible is blank."""
    at = row - screen.scrolled
    return screen.grid.rows[at].at(column) if 0 <= at < screen.rows else BLANK_CELL
