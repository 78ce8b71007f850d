"""Where in a TOML file something is set, for messages about it: tomllib does not say."""

from __future__ import annotations

from typing import Any, Final


def line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the number of the line of valid TOML that sets `keys`, or else that of the table around them.

    None if neither has a line of its own. Text inside of a multi-line string may be taken for a line of the file.
    """
    section: tuple[str, ...] = ()
    best: tuple[int, int | None] = (0, None)
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, _ = line.partition("=")
        is_section = line.lstrip().startswith("[")
        mentions = any(key in (line if is_section else name) for key in keys)  # the others need not be parsed
        if is_section:
            here = section = _keys_of(line) if mentions else _ANOTHER
        else:
            here = (*section, *_keys_of(f"{name}= 0")) if equals and mentions else ()
        common = min(len(here), len(keys))
        if common > best[0] and here[:common] == keys[:common]:
            best = common, number
    return best[1]


_ANOTHER: Final = ("\0",)
"""The keys of a section that is not looked for: TOML allows no such character."""


def _keys_of(line: str) -> tuple[str, ...]:
    """Return the keys in a line of TOML; none if it is not whole, such as the middle of an array."""
    import tomllib

    try:
        table: Any = tomllib.loads(line)
    except ValueError:
        return ()
    keys: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        (key, table), *_ = table.items()
        keys.append(key)
    return tuple(keys)
