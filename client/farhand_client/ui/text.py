"""Text for a terminal: cut or wrapped to a width, and sizes and times for people. No I/O."""

from __future__ import annotations


def display_width(text: str) -> int:
    """Return how many columns `text` takes on a terminal (UAX #11: wide characters take two, combining ones none)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def truncate(text: str, columns: int) -> str:
    """Return `text` cut to at most `columns` columns, with an ellipsis if anything was cut. `columns` is at least 1."""
    if display_width(text) <= columns:
        return text
    width = 0
    for at, char in enumerate(text):
        width += display_width(char)
        if width > columns - 1:
            return text[:at] + "…"
    return text + "…"


def truncate_start(text: str, columns: int) -> str:
    """Return the end of `text`, at most `columns` columns with an ellipsis if anything was cut: of a path, its name."""
    if display_width(text) <= columns:
        return text
    width = 0
    for at in range(len(text) - 1, -1, -1):
        width += display_width(text[at])
        if width > columns - 1:
            return "…" + text[at + 1 :]
    return "…" + text


def wrap_words(text: str, columns: int, indent: str = "") -> list[str]:
    """Return the lines of `text`, wrapped only at blanks to `columns`; all but the first begin with `indent`.

    A word that is longer is not broken, so that options, metavars and addresses can be copied.
    """
    from textwrap import wrap

    return wrap(text, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def format_span(seconds: float) -> str:
    """Return a rough time for a sentence, in the unit that gives a small number: `45 s`, `30 min`, `24 h`, `3 days`."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds > 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def format_time(seconds: float) -> str:
    """Return a time in at most six characters: `0.25s`, `42s`, `3m07s`, `2h05m`, `12d03h`."""
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    for size, name, below, under in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{name}{whole % size // below:02d}{under}"
    return f"{whole}s"


def format_size(count: int) -> str:
    """Return a number of bytes in at most five characters, in powers of 1024: `900`, `1.5K`, `12M`."""
    if count < 1024:
        return str(count)
    size, units = count / 1024, iter("KMGTPE")
    unit = next(units)
    while size >= 999.5:
        size, unit = size / 1024, next(units)
    return f"{size:.1f}{unit}" if size < 9.95 else f"{size:.0f}{unit}"


def format_bytes(count: float) -> str:
    """Return a number of bytes for a sentence, in powers of 1024: `900 bytes`, `1.5 KiB`, `12 MiB`."""
    if count < 1024:
        return f"{count:.0f} byte{'' if round(count) == 1 else 's'}"
    short = format_size(round(count))
    return f"{short[:-1]} {short[-1]}iB"
