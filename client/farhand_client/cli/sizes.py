"""Sizes and limits as people type them; for argparse."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def size(text: str) -> int:
    """Return a number of bytes: `65536`, `64K`, `512M`, `1G`, `2T`, in powers of 1024."""
    unit = text[-1:].lower() if text[-1:].isalpha() else ""
    digits = text[: len(text) - len(unit)]
    if unit not in _UNITS or not digits.isdecimal() or not digits.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; 65536, 64K, 512M and 1G are")
    value = int(digits[:20]) * _UNITS[unit]
    if value >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is more than any machine has")
    return value


def limits(text: str) -> Mapping[str, Any]:
    """Return the limits of `memory=512M,cpu=10,…` by the names the API has."""
    found: dict[str, Any] = {}
    for item in text.split(","):
        name, equals, value = item.partition("=")
        read = _LIMITS.get(name)
        if read is None or not equals:
            raise argparse.ArgumentTypeError(f"{item!r} is no limit; there are {', '.join(f'{n}=N' for n in _LIMITS)}")
        found[name.replace("-", "_")] = read(value)
    return found


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or not 0 < int(text[:20]) < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _positive(text: str) -> int:
    if not (value := size(text)):
        raise argparse.ArgumentTypeError("a limit on memory has more than 0 bytes")
    return value


def _cpu(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


_LIMITS: Final[dict[str, Callable[[str], int | float]]] = {
    "memory": _positive,
    "cpu": _cpu,
    "processes": _count,
    "files": _count,
    "file-size": size,
    "output": size,
}
