"""Checks of what callers of the API pass, before anything is sent: each mistake is a sentence that names the argument.

All raise TypeError for a value of the wrong type, and ValueError for one that no service would accept.
"""

from __future__ import annotations

import os
from typing import Any, Final, TypeVar
from uuid import UUID

from farhand_protocol import messages as m

from .ids import checked_id, checked_prefix

_T = TypeVar("_T")

SHORTEST: Final = 1e-6
"""Seconds: the shortest time that is more than none. Less would be rounded to 0 on the way."""

MAX_CELLS: Final = 0xFFFF
"""The most columns or rows that a terminal can have: struct winsize has 16 bits for each (ioctl_tty(2))."""

MAX_ID: Final = 36
"""Characters of a run's id: a UUID (RFC 9562, section 4)."""


def type_error(where: str, value: object, expected: str) -> TypeError:
    """Return the error that says which type the argument `where` has, and what it must be."""
    return TypeError(f"{where} is {'None' if value is None else type(value).__name__}; it must be {expected}")


def as_bytes(value: object, where: str) -> bytes:
    """Return `value`, a str, bytes or path, as the bytes that a program gets: as `os.fsencode` does."""
    if not isinstance(value, str | bytes | os.PathLike):
        raise type_error(where, value, "str, bytes or a path")
    try:
        encoded = os.fsencode(value)
    except UnicodeEncodeError:
        raise ValueError(f"{where} contains a surrogate, which stands for no character and no byte") from None
    if b"\0" in encoded:
        raise ValueError(f"{where} contains a NUL byte, which cannot be passed to a program")
    return encoded


def as_count(value: object, where: str, least: int = 0) -> int:
    """Return `value` if it is an int from `least` to `MAX_COUNT`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise type_error(where, value, "an int")
    if value < least:
        raise ValueError(f"{where} is {shortened(value)}; it must be {least} or more")
    if value > m.MAX_COUNT:
        raise ValueError(f"{where} is {shortened(value)}; it must be at most {m.MAX_COUNT}")
    return value


def as_seconds(value: object, where: str, *, positive: bool) -> float | None:
    """Return a time in seconds as float, or None as it is. With `positive` it must be more than 0."""
    if value is None:
        return None
    if isinstance(value, bool | str) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise type_error(where, value, "a number of seconds, or None")
    try:
        seconds = float(value)  # type: ignore[arg-type]  # it has one of the two methods
    except OverflowError:
        seconds = float("inf")
    if not (SHORTEST if positive else 0.0) <= seconds <= m.MAX_SECONDS:
        above = "more than " if positive else ""
        raise ValueError(f"{where} is {shortened(value)}; it must be {above}0 to {m.MAX_SECONDS} seconds")
    return seconds


def as_window_size(columns: int, rows: int) -> m.WindowSize:
    """Return the size of a terminal."""
    if any(number not in range(MAX_CELLS + 1) for number in (columns, rows)):
        wrong = f"{shortened(columns)} columns and {shortened(rows)} rows"
        raise ValueError(f"a terminal cannot have {wrong}; use 0 to {MAX_CELLS}")
    return m.WindowSize(columns=int(columns), rows=int(rows))


def as_choice(value: object, where: str, choices: tuple[str, ...]) -> Any:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{where} is {shortened(value)}; it must be {' or '.join(map(repr, choices))}")
    return value


def as_str(value: object, where: str) -> str:
    """Return `value` if it is a str."""
    if not isinstance(value, str):
        raise type_error(where, value, "str")
    return value


def as_instance(value: object, where: str, kind: type[_T]) -> _T | None:
    """Return `value` if it is a `kind`, or None."""
    if value is not None and not isinstance(value, kind):
        raise type_error(where, value, f"a {kind.__name__}, or None")
    return value


def as_callback(value: object, where: str) -> None:
    """Check that `value` can be called, or is None."""
    if value is not None and not callable(value):
        raise type_error(where, value, "a function, or None")


def as_run_id(value: object) -> str:
    """Return a complete run id, given as str or UUID."""
    return checked_id(_id_text(value, "run_id"))


def as_id_prefix(value: object, where: str = "run_id") -> str:
    """Return a run id that may be shortened, given as str or UUID."""
    return checked_prefix(_id_text(value, where))


def _id_text(value: object, where: str) -> str:
    if not isinstance(value, str | UUID):
        raise type_error(where, value, "the id of a run, as str")
    text = str(value)
    if len(text) > MAX_ID:
        raise ValueError(f"{where} has {len(text)} characters; the id of a run has {MAX_ID}")
    return text


def as_pattern(value: object) -> bytes | None:
    """Return a pattern as bytes, or None."""
    if value is None:
        return None
    if not isinstance(value, str | bytes):
        raise type_error("pattern", value, "str or bytes, or None")
    pattern = as_bytes(value, "pattern")
    if len(pattern) > m.MAX_PATTERN:
        raise ValueError(f"pattern has {len(pattern)} bytes; it must have at most {m.MAX_PATTERN}")
    return pattern


def shortened(value: object) -> str:
    """Return the repr of a wrong value for an error, where it must not be of any length."""
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to print the longest ones
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
