"""What to tell a terminal so that it shows what an emulator does."""

from __future__ import annotations

from itertools import groupby

from .display import Saved
from .emulator import Emulator
from .graphics import PLAIN, selecting
from .grid import BLANK, Cell, Row
from .settings import AUTOWRAP, CURSOR, ORIGIN, keyboard


def whole(emulator: Emulator, rows: int) -> str:
    """Return what shows all of it, the cursor and what is set included, on a terminal of `rows` where nothing is set.

    What that terminal shows scrolls away, this one screen and no more, unless only the alternate screen is known.
    """
    settings = emulator.settings
    main, alternate = emulator.screens
    parts = ["\x1b[?25l\x1b[?7l"]
    if emulator.seen_main:
        parts += [f"\x1b[{rows};1H", "\n" * rows, "\x1b[H\x1b[2J"]
        parts += _rows(main.rows, emulator.columns)
        parts.append(_saving(emulator.saved[0], save=settings.alternate != 1049))
    parts.append(keyboard(settings.keyboards[0]))
    if settings.alternate:
        parts += [f"\x1b[?{settings.alternate}h", "\x1b[m\x1b[H\x1b[2J"]
        parts += _rows(alternate.rows, emulator.columns)
        parts += [_saving(emulator.saved[1], save=True), keyboard(settings.keyboards[1])]
    if settings.margins is not None:
        top, bottom = emulator.region
        parts.append(f"\x1b[{top + 1};{bottom + 1}r")
    parts += [_placed(emulator), _resumed(emulator, written=emulator.wrapping), settings.again()]
    parts.append("\x1b[?25h" if settings.on(CURSOR) else "")
    return "".join(parts)


def over(emulator: Emulator, text: str, pending: bytes, *, ready: bool) -> str:
    """Return what puts `text`, which begins with its own attributes, into the last row of a terminal that shows what
    the emulator does, and leaves everything else as it is there.

    `pending` is what the program has begun to say. With `ready` it can go on after this; else `text` is not touched,
    not even where the program would go on with it.
    """
    settings = emulator.settings
    # For a character that is cut short, some terminals show another, and move the cursor.
    placed = pending >= b"\x80"
    # The program may go on with the sequence that repeats the last character. Where terminals reflow rows, we may be
    # wrong about where that is, so that it takes a sign.
    repeats = emulator.last is not None and _before(emulator) == emulator.last
    repeats = repeats and (settings.alternate > 0 or pending.startswith(b"\x1b"))
    written = ready and (emulator.wrapping or repeats)
    # The terminal knows best where its cursor is, also where it has reflowed its rows. But on each screen it remembers
    # one place only, which may be the program's.
    remembers = not placed and not settings.saves[bool(settings.alternate)]
    before = "\x1b7" if remembers else ""
    if settings.on(ORIGIN):
        before += "\x1b[?6l"
    before += "\x1b[?7l" * settings.on(AUTOWRAP) + "\x1b[4l" * settings.insert
    if settings.shifted or settings.charsets[0] != "B":
        before += "\x1b(B\x0f"
    back = "\x1b[m\x1b8" if remembers else _placed(emulator)
    return f"{before}\x1b[{emulator.rows};1H{text}{back}{_resumed(emulator, written=written)}"


def content(row: Row, columns: int) -> str:
    """Return the characters of a row, without the blank ones at its end, for a terminal where nothing is set, and
    autowrap is off so that nothing is lost where it takes a character to be wider."""
    cells = row.cells[:columns]
    if row.fill != BLANK:
        cells += [row.fill] * (columns - len(cells))
    while cells and cells[-1] == BLANK:
        cells.pop()
    if len(row.cells) > columns == len(cells) and not row.cells[columns][0]:
        cells[-1] = BLANK  # the left half of a wide character
    parts: list[str] = []
    column = 0
    for attributes, group in groupby(cells, key=_attributes):
        parts.append(selecting(attributes))
        for text, _ in group:
            column += 1
            if column == columns and len(text) > 1:
                # Without autowrap, terminals combine with the character before the last one.
                parts.append(f"\x1b[?7h{text}\x1b[?7l")
            elif text:
                parts.append(text)
            # Terminals differ in how wide some characters are: what comes behind them keeps its place.
            if (not text or len(text) > 1) and column < len(cells) and cells[column][0]:
                parts.append(f"\x1b[{column + 1}G")
    parts.append("\x1b[m" if parts else "")
    return "".join(parts)


def _attributes(cell: Cell) -> tuple[str, ...]:
    return cell[1]


def _rows(rows: list[Row], columns: int) -> list[str]:
    return [f"\x1b[{at};1H{text}" for at, row in enumerate(rows, 1) if (text := content(row, columns))]


def _saving(saved: Saved | None, *, save: bool) -> str:
    if saved is None:
        return ""
    # What mode 1049 saves by itself need not be saved before.
    return f"\x1b[{saved.y + 1};{saved.x + 1}H{selecting(saved.attributes)}" + ("\x1b7\x1b[m" if save else "")


def _placed(emulator: Emulator) -> str:
    origin = emulator.settings.on(ORIGIN)
    first = emulator.region[0] if origin else 0
    return "\x1b[m" + "\x1b[?6h" * origin + f"\x1b[{emulator.y - first + 1};{emulator.x + 1}H"


def _before(emulator: Emulator) -> Cell | None:
    """Return what is before the cursor."""
    column = emulator.x - (not emulator.wrapping)
    return emulator.grid.rows[emulator.y].at(column) if column >= 0 else None


def _resumed(emulator: Emulator, *, written: bool) -> str:
    """Return what the next character depends on: attributes and charsets, and with `written` the one before it."""
    settings = emulator.settings
    parts = ["\x1b[?7h"] if settings.on(AUTOWRAP) else []
    if written:
        # Only a character that is written in the last column makes the next one wrap.
        column = emulator.x - (not emulator.wrapping)
        row = emulator.grid.rows[emulator.y]
        text, attributes = row.at(column)
        if not text and column:
            column -= 1
            text, attributes = row.at(column)
        plainly = "\x1b(B\x0f" if settings.shifted or settings.charsets[0] != "B" else ""
        parts.append(f"{plainly}\x1b[{column + 1}G{selecting(attributes)}{text or ' '}")
    if settings.attributes != PLAIN or written:
        parts.append(selecting(settings.attributes))
    parts += [f"\x1b{which}{charset}" for which, charset in zip("()", settings.charsets, strict=True) if charset != "B"]
    parts += ["\x0e"] * settings.shifted + ["\x1b[4h"] * settings.insert
    return "".join(parts)
