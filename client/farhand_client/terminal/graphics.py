"""How characters look: Select Graphic Rendition (ECMA-48, 8.3.117; colours as in xterm's ctlseqs)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

Attributes: TypeAlias = tuple[str, ...]
"""For each aspect (weight, faintness, … colours) the parameters that set it, "" where it is as usual. So a colour that
a program took from the user's palette stays one of the palette."""

(BOLD, DIM, ITALIC, UNDERLINE, BLINK, REVERSE, CONCEAL, STRIKE, OVERLINE, FOREGROUND, BACKGROUND, UNDERLINE_COLOUR) = (
    range(12)
)

PLAIN: Final[Attributes] = ("",) * 12

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

_LENGTHS: Final = {"5": 3, "2": 5}
"""Parameters of a colour with semicolons: 38;5;N and 38;2;R;G;B."""

_LONGEST: Final = 32
"""Characters of one parameter with colons: 38:2:COLOURSPACE:R:G:B with room to spare."""


@lru_cache(maxsize=1024)
def changed(attributes: Attributes, parameters: str) -> Attributes:
    """Return what becomes of `attributes` by `CSI parameters m`. Parameters that mean nothing change nothing."""
    slots = list(attributes)
    fields = parameters.split(";")
    at = 0
    while at < len(fields):
        field = fields[at]
        code = field.lstrip("0")
        length = 1
        if not code:
            slots = list(PLAIN)
        elif ":" in field:
            _set_with_colons(slots, field)
        elif code in _COLOURS:
            length = _LENGTHS.get("".join(fields[at + 1 : at + 2]), 1)
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


def _set_with_colons(slots: list[str], field: str) -> None:
    code, _, rest = field.partition(":")
    if len(field) > _LONGEST:
        return
    if code in _COLOURS:
        slots[_COLOURS[code]] = field
    elif code == "4":
        slots[UNDERLINE] = "" if rest == "0" else field


@lru_cache(maxsize=1024)
def selecting(attributes: Attributes) -> str:
    """Return the sequence that selects these attributes and no others."""
    return f"\x1b[{';'.join(filter(None, ('0', *attributes)))}m" if attributes != PLAIN else "\x1b[m"


@lru_cache(maxsize=1024)
def erased(attributes: Attributes) -> Attributes:
    """Return how a cell looks that was erased: it has the background only (xterm's "bce")."""
    background = attributes[BACKGROUND]
    return PLAIN if not background else (*PLAIN[:BACKGROUND], background, *PLAIN[BACKGROUND + 1 :])
