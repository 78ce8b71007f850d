"""Words of the other side on the user's terminal: made harmless, and no wider than there is room for."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with every character written out that could make a terminal do something (C0, C1, bidi and so on).

    What the other side calls itself, its files and its errors could else move the cursor or answer for the user.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def width(text: str) -> int:
    """Return the columns that `text` takes on a terminal (UAX #11: wide characters take two, combining ones none)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, columns: int) -> str:
    """Return as much of `text` as fits so many columns, one at least, with an ellipsis where that is not all."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
