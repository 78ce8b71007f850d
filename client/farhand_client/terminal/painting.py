"""Output that makes a terminal show what an emulator shows: the whole screen, or a text over its last row."""

from __future__ import annotations

from itertools import groupby

from .display import SavedCursor
from .emulator import Emulator
from .grid import BLANK_CELL, DEFAULT_ATTRIBUTES, Cell, Row, sgr_sequence
from .settings import AUTOWRAP_MODE, CURSOR_MODE, ORIGIN_MODE, keyboard_sequence


def paint_screen(emulator: Emulator, rows: int) -> str:
    """Return the output that shows the emulator's screens, cursor and settings on a terminal of `rows` where nothing is
    set.

    The previous contents of that terminal scroll away, by one screen only, unless only the alternate screen is known.
    """
    settings = emulator.settings
    main, alternate = emulator.screens
    parts = ["\x1b[?25l\x1b[?7l"]
    if emulator.seen_main:
        parts += [f"\x1b[{rows};1H", "\n" * rows, "\x1b[H\x1b[2J"]
        parts += _paint_rows(main.rows, emulator.columns)
        parts.append(_save_cursor(emulator.saved[0], save=settings.alternate != 1049))
    parts.append(keyboard_sequence(settings.keyboards[0]))
    if settings.alternate:
        parts += [f"\x1b[?{settings.alternate}h", "\x1b[m\x1b[H\x1b[2J"]
        parts += _paint_rows(alternate.rows, emulator.columns)
        parts += [_save_cursor(emulator.saved[1], save=True), keyboard_sequence(settings.keyboards[1])]
    if settings.margins is not None:
        top, bottom = emulator.region
        parts.append(f"\x1b[{top + 1};{bottom + 1}r")
    parts += [_place_cursor(emulator), _resume(emulator, rewrite=emulator.wrapping), settings.set_sequence()]
    parts.append("\x1b[?25h" if settings.is_set(CURSOR_MODE) else "")
    return "".join(parts)


def paint_last_row(emulator: Emulator, text: str, pending: bytes, *, ready: bool) -> str:
    """Return the output that puts `text`, which begins with its own attributes, into the last row of a terminal that
    shows what the emulator does, and leaves everything else there unchanged.

    `pending` is the incomplete sequence or character at the end of the program's output. With `ready` the program may
    continue after this; otherwise `text` remains untouched even where the program would continue on it.
    """
    settings = emulator.settings
    # For an incomplete character some terminals show a replacement and move the cursor.
    place = pending >= b"\x80"
    # The program may continue with the sequence that repeats the last character. Where a terminal reflows rows, our
    # idea of that character's place may be wrong, so rewrite it only if there is a sign of such a sequence.
    repeats = emulator.last is not None and _cell_before_cursor(emulator) == emulator.last
    repeats = repeats and (settings.alternate > 0 or pending.startswith(b"\x1b"))
    rewrite = ready and (emulator.wrapping or repeats)
    # The terminal itself knows best where its cursor is, also after reflowing rows. But on each screen it can save only
    # one position, which may be in use by the program.
    save = not place and not settings.cursor_saved[bool(settings.alternate)]
    before = "\x1b7" if save else ""
    if settings.is_set(ORIGIN_MODE):
        before += "\x1b[?6l"
    before += "\x1b[?7l" * settings.is_set(AUTOWRAP_MODE) + "\x1b[4l" * settings.insert
    if settings.shifted or settings.charsets[0] != "B":
        before += "\x1b(B\x0f"
    back = "\x1b[m\x1b8" if save else _place_cursor(emulator)
    return f"{before}\x1b[{emulator.rows};1H{text}{back}{_resume(emulator, rewrite=rewrite)}"


def row_content(row: Row, columns: int) -> str:
    """Return the output that writes a row without its trailing blanks.

    The terminal must have nothing set and autowrap off, so that nothing is lost where it considers a character wider.
    """
    cells = row.cells[:columns]
    if row.fill != BLANK_CELL:
        cells += [row.fill] * (columns - len(cells))
    while cells and cells[-1] == BLANK_CELL:
        cells.pop()
    if len(row.cells) > columns == len(cells) and not row.cells[columns][0]:
        cells[-1] = BLANK_CELL  # the left half of a wide character
    parts: list[str] = []
    column = 0
    for attributes, group in groupby(cells, key=_attributes):
        parts.append(sgr_sequence(attributes))
        for text, _ in group:
            column += 1
            if column == columns and len(text) > 1:
                # Without autowrap, terminals combine with the character before the last one.
                parts.append(f"\x1b[?7h{text}\x1b[?7l")
            elif text:
                parts.append(text)
            # Terminals disagree on the width of some characters: position what follows explicitly.
            if (not text or len(text) > 1) and column < len(cells) and cells[column][0]:
                parts.append(f"\x1b[{column + 1}G")
    parts.append("\x1b[m" if parts else "")
    return "".join(parts)


def _attributes(cell: Cell) -> tuple[str, ...]:
    return cell[1]


def _paint_rows(rows: list[Row], columns: int) -> list[str]:
    return [f"\x1b[{at};1H{text}" for at, row in enumerate(rows, 1) if (text := row_content(row, columns))]


def _save_cursor(saved: SavedCursor | None, *, save: bool) -> str:
    if saved is None:
        return ""
    # What mode 1049 saves by itself need not be saved before.
    return f"\x1b[{saved.y + 1};{saved.x + 1}H{sgr_sequence(saved.attributes)}" + ("\x1b7\x1b[m" if save else "")


def _place_cursor(emulator: Emulator) -> str:
    origin = emulator.settings.is_set(ORIGIN_MODE)
    first = emulator.region[0] if origin else 0
    return "\x1b[m" + "\x1b[?6h" * origin + f"\x1b[{emulator.y - first + 1};{emulator.x + 1}H"


def _cell_before_cursor(emulator: Emulator) -> Cell | None:
    column = emulator.x - (not emulator.wrapping)
    return emulator.grid.rows[emulator.y].at(column) if column >= 0 else None


def _resume(emulator: Emulator, *, rewrite: bool) -> str:
    """Return the output that restores what the next character depends on: attributes, charsets, and with `rewrite` the
    character before it."""
    settings = emulator.settings
    parts = ["\x1b[?7h"] if settings.is_set(AUTOWRAP_MODE) else []
    if rewrite:
        # The next character wraps only if a character was just written in the last column.
        column = emulator.x - (not emulator.wrapping)
        row = emulator.grid.rows[emulator.y]
        text, attributes = row.at(column)
        if not text and column:
            column -= 1
            text, attributes = row.at(column)
        plainly = "\x1b(B\x0f" if settings.shifted or settings.charsets[0] != "B" else ""
        parts.append(f"{plainly}\x1b[{column + 1}G{sgr_sequence(attributes)}{text or ' '}")
    if settings.attributes != DEFAULT_ATTRIBUTES or rewrite:
        parts.append(sgr_sequence(settings.attributes))
    parts += [f"\x1b{which}{charset}" for which, charset in zip("()", settings.charsets, strict=True) if charset != "B"]
    parts += ["\x0e"] * settings.shifted + ["\x1b[4h"] * settings.insert
    return "".join(parts)
