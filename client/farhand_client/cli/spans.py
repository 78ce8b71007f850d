"""Spans of time as people type them, for argparse, and as they read them."""

from __future__ import annotations

import argparse
from typing import Final

from farhand_protocol.model import MAX_SECONDS

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> float:
    """Return a number of seconds: `90`, `90s`, `30m`, `8h`, `2d`."""
    unit = text[-1:] if text[-1:].isalpha() else ""
    digits = text[: len(text) - len(unit)]
    if unit not in _UNITS or not digits.isascii() or not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no time; 90 (seconds), 30m, 8h and 2d are")
    seconds = int(digits[:20]) * _UNITS[unit]
    if seconds > MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than ten years")
    return float(seconds)


def span(seconds: float) -> str:
    """Return `seconds` in the unit that makes it a small number."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds > 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
