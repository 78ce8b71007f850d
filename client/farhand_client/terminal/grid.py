"""The cells of one screen, row by row, and how they look.

Attributes follow Select Graphic Rendition (ECMA-48, 8.3.117; colours as in xterm's ctlseqs).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias
from unicodedata import category, east_asian_width

TextAttributes: TypeAlias = tuple[str, ...]
"""For each aspect (weight, faintness, … colours) the SGR parameters that set it, "" for the default. A colour that a
program took from the user's palette therefore remains a palette colour."""

(BOLD, DIM, ITALIC, UNDERLINE, BLINK, REVERSE, CONCEAL, STRIKE, OVERLINE, FOREGROUND, BACKGROUND, UNDERLINE_COLOUR) = (
    range(12)
)

DEFAULT_ATTRIBUTES: Final[TextAttributes] = ("",) * 12

Cell: TypeAlias = tuple[str, TextAttributes]
"""A character with its combining characters, and its attributes. The right half of a wide character is ""."""

BLANK_CELL: Final[Cell] = (" ", DEFAULT_ATTRIBUTES)

_SETS: Final = {
    "1": BOLD, "2": DIM, "3": ITALIC, "4": UNDERLINE, "21": UNDERLINE, "5": BLINK, "6": BLINK, "7": REVERSE,
    "8": CONCEAL, "9": STRIKE, "53": OVERLINE,
    **{str(code): FOREGROUND for code in (*range(30, 38), *range(90, 98))},
    **{str(code): BACKGROUND for code in (*range(40, 48), *range(100, 108))},
}  # fmt: skip

_CLEARS: Final = {
    "22": (BOLD, DIM), "23": (ITALIC,), "24": (UNDERLINE,), "25": (BLINK,), "27": (REVERSE,), "28": (CONCEAL,),
    "29": (STRIKE,), "39": (FOREGROUND,), "49": (BACKGROUND,), "55": (OVERLINE,), "59": (UNDERLINE_COLOUR,),
}  # fmt: skip

_COLOURS: Final = {"38": FOREGROUND, "48": BACKGROUND, "58": UNDERLINE_COLOUR}

_COLOUR_LENGTHS: Final = {"5": 3, "2": 5}
"""The number of parameters of a colour written with semicolons: 38;5;N and 38;2;R;G;B."""

_MAX_COLON_PARAMETER: Final = 32
"""Characters of one parameter with colons: 38:2:COLOURSPACE:R:G:B with room to spare."""

_MAX_COMBINED: Final = 16
"""Characters in one cell. Emoji of families have eleven; without a limit a cell could grow without bound."""


@lru_cache(maxsize=1024)
def apply_sgr(attributes: TextAttributes, parameters: str) -> TextAttributes:
    """Return `attributes` after `CSI parameters m`. Unknown parameters are ignored."""
    slots = list(attributes)
    fields = parameters.split(";")
    at = 0
    while at < len(fields):
        field = fields[at]
        code = field.lstrip("0")
        length = 1
        if not code:
            slots = list(DEFAULT_ATTRIBUTES)
        elif ":" in field:
            _apply_colon_parameter(slots, field)
        elif code in _COLOURS:
            length = _COLOUR_LENGTHS.get("".join(fields[at + 1 : at + 2]), 1)
            value = fields[at : at + length]
            if length == len(value) > 1:
                slots[_COLOURS[code]] = ";".join(part[-3:] or "0" for part in value)
        elif code in _SETS:
            slots[_SETS[code]] = code
        else:
            for slot in _CLEARS.get(code, ()):
                slots[slot] = ""
        at += length
    return tuple(slots)


def _apply_colon_parameter(slots: list[str], field: str) -> None:
    code, _, rest = field.partition(":")
    if len(field) > _MAX_COLON_PARAMETER:
        return
    if code in _COLOURS:
        slots[_COLOURS[code]] = field
    elif code == "4":
        slots[UNDERLINE] = "" if rest == "0" else field


@lru_cache(maxsize=1024)
def sgr_sequence(attributes: TextAttributes) -> str:
    """Return the sequence that selects exactly these attributes."""
    return f"\x1b[{';'.join(filter(None, ('0', *attributes)))}m" if attributes != DEFAULT_ATTRIBUTES else "\x1b[m"


@lru_cache(maxsize=1024)
def erased_attributes(attributes: TextAttributes) -> TextAttributes:
    """Return the attributes of an erased cell: only the background remains (xterm's "bce")."""
    background = attributes[BACKGROUND]
    if not background:
        return DEFAULT_ATTRIBUTES
    return (*DEFAULT_ATTRIBUTES[:BACKGROUND], background, *DEFAULT_ATTRIBUTES[BACKGROUND + 1 :])


@lru_cache(maxsize=4096)
def character_width(char: str) -> int:
    """Return the number of columns of a character: 2 for a wide one (UAX #11), 0 for one that combines with the one
    before it, -1 for one that is not printed (such as C1 controls, which the user's terminal would obey)."""
    if east_asian_width(char) in "WF":
        return 2
    kind = category(char)
    if kind in ("Cc", "Zl", "Zp"):
        return -1
    return 0 if kind in ("Mn", "Me", "Cf") and char != "\xad" else 1


class Row:
    """One row of a screen: the cells up to the last one written; `fill` stands for all cells after them."""

    __slots__ = ("cells", "fill")

    def __init__(self, fill: Cell = BLANK_CELL) -> None:
        self.cells: list[Cell] = []
        self.fill = fill

    def at(self, column: int) -> Cell:
        """Return the cell in `column`."""
        return self.cells[column] if column < len(self.cells) else self.fill

    def write(self, column: int, cells: list[Cell]) -> None:
        """Overwrite what is at `column` with `cells`. A wide character that loses one half is blanked."""
        end = column + len(cells)
        self._extend(end)
        self._split_wide(column)
        self._split_wide(end)
        self.cells[column:end] = cells

    def erase(self, start: int, stop: int, blank: Cell) -> None:
        """Fill the columns from `start` to before `stop` with `blank`."""
        self.write(start, [blank] * (stop - start))

    def insert(self, column: int, count: int, width: int, blank: Cell) -> None:
        """Shift the cells from `column` on to the right by `count`; cells beyond `width` are lost."""
        self._extend(width)
        self._split_wide(column)
        self._split_wide(width - count)
        self.cells[column:] = [blank] * count + self.cells[column : width - count]

    def delete(self, column: int, count: int, width: int, blank: Cell) -> None:
        """Remove `count` cells at `column`; the cells after them shift to the left."""
        self._extend(width)
        self._split_wide(column)
        self._split_wide(column + count)
        self.cells[column:] = self.cells[column + count : width] + [blank] * count

    def combine(self, column: int, char: str) -> None:
        """Add a combining character to the character in `column`."""
        if column < len(self.cells):
            text, attributes = self.cells[column]
            if not text and column:
                column -= 1
                text, attributes = self.cells[column]
            if len(text) < _MAX_COMBINED:
                self.cells[column] = (text + char, attributes)

    def _extend(self, width: int) -> None:
        if (missing := width - len(self.cells)) > 0:
            self.cells += [self.fill] * missing

    def _split_wide(self, column: int) -> None:
        """Blank both halves of the wide character, if any, whose right half is in `column`."""
        cells = self.cells
        if 0 < column < len(cells) and not cells[column][0]:
            cells[column] = (" ", cells[column][1])
            cells[column - 1] = (" ", cells[column - 1][1])


class Grid:
    """The rows of one screen."""

    def __init__(self, rows: int) -> None:
        self.rows = [Row() for _ in range(rows)]

    def scroll(self, top: int, bottom: int, count: int, blank: Cell) -> None:
        """Move the rows from `top` to `bottom` up by `count`, or down if it is negative."""
        if abs(count) > bottom - top:
            self.clear(top, bottom + 1, blank)
            return
        for _ in range(abs(count)):
            del self.rows[top if count > 0 else bottom]
            self.rows.insert(bottom if count > 0 else top, Row(blank))

    def clear(self, start: int, stop: int, blank: Cell) -> None:
        """Fill the rows from `start` to before `stop` with `blank`."""
        self.rows[start:stop] = [Row(blank) for _ in range(stop - start)]

    def resize(self, rows: int, cursor: int) -> int:
        """Change the number of rows, removing rows at the top if the cursor's row would be lost otherwise.

        Returns the number of rows removed at the top.
        """
        above = max(0, cursor + 1 - rows)
        del self.rows[:above]
        del self.rows[rows:]
        self.rows += [Row() for _ in range(rows - len(self.rows))]
        return above
