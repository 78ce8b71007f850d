"""Times and sizes as people write them: one syntax for the options of both programs and for their files.

The wire has seconds and bytes only.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TIME: Final = 10 * 366 * 86400
"""Seconds: ten years; anyone who wants longer means no limit. The same as `model.MAX_SECONDS`, without its imports."""

TIME_FORMS: Final = "seconds (90, 0.5) or a form like 30s, 5m, 1h30m, 2d"

SIZE_FORMS: Final = "bytes (65536) or a form like 64K, 512M, 1.5G, 64 KiB, 2 MB"

_TIME_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

_BINARY: Final = {letter: 1 << 10 * power for power, letter in enumerate("kmgt", 1)}
_SIZE_UNITS: Final = {
    "b": 1,
    **{f"{letter}{end}": size for letter, size in _BINARY.items() for end in ("", "i", "ib")},
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
}
"""As in GNU programs and Kubernetes: K, Ki and KiB are 1024 bytes, KB is 1000. Upper and lower case are the same."""

_NUMBER: Final = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
_PLAIN: Final = re.compile(rf"{_NUMBER}(?:e[0-9]{{1,2}})?")
_TIME: Final = re.compile(rf"(?:{_NUMBER} ?(?:ms|s|m|min|h|d)(?: ?(?=[0-9])|$))+")
_TIME_PART: Final = re.compile(rf"({_NUMBER}) ?([a-z]+)")
_SIZE: Final = re.compile(rf"({_NUMBER}) ?([A-Za-z]{{0,3}})")


def seconds_from(text: str) -> float:
    """Return the seconds that `90`, `0.5`, `30s`, `5m`, `1h30m`, `1500 ms` or `2d` stands for. Raises ValueError."""
    if _PLAIN.fullmatch(text):
        return float(text)
    if not _TIME.fullmatch(text):
        raise ValueError(f"must be {TIME_FORMS}")
    return sum(float(number) * _TIME_UNITS[unit] for number, unit in _TIME_PART.findall(text))


def bytes_from(text: str) -> int:
    """Return the bytes that `65536`, `64K`, `1.5G`, `64 KiB` or `2 MB` stands for. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    unit = _SIZE_UNITS.get(match[2].lower()) if match and match[2] else 1
    if match is None or unit is None:
        raise ValueError(f"must be {SIZE_FORMS}")
    if "." not in match[1]:
        return int(match[1]) * unit
    size = float(match[1]) * unit
    if not size.is_integer():
        raise ValueError("must be a whole number of bytes")
    return int(size)
