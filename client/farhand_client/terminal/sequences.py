"""The grammar of what a program says to a terminal: characters, control sequences, control strings.

ECMA-48, 5.4 to 5.6, as terminals read it (the state machine of DEC's VT500 series): CAN and SUB abort a sequence, and
so does ESC, which begins another; other control characters inside a control sequence take effect at once.
"""

from __future__ import annotations

import re
from typing import Final

CANCEL: Final = b"\x18"
"""CAN: a terminal that is in the middle of a sequence forgets it; else it does nothing."""

PARTIAL: Final = 4096
"""Bytes of an incomplete sequence that are remembered: titles, queries, links. What is longer, pictures and clipboards,
cannot be said a second time in a few bytes, and its rest is let run into an empty string instead."""

# Inside a control sequence: its parameters, and control characters that take effect at once.
_BODY = r"[\x00-\x17\x19\x1c-\x1f -?\x7f]*"

TOKEN: Final = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f]+)"
    rf"|\x1b\[(?P<body>{_BODY})(?:(?P<final>[@-~])|[\x18\x1a]|(?=[^\x00-\x7f])|(?=\x1b))"
    r"|\x1b\][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\|[\x18\x1a]|(?=\x1b))"
    r"|\x1b[PX^_][^\x18\x1a\x1b]*(?:\x1b\\|[\x18\x1a]|(?=\x1b))"
    r"|\x1b(?P<between>[ -/]*)(?P<escape>[0-~])"
    r"|(?P<control>[\x00-\x1f\x7f])",
    re.DOTALL,
)
"""One after the other, these are the whole of what a program says, but for an incomplete sequence at the end."""

_INCOMPLETE: Final = re.compile(
    rb"\x1b(?:[ -/]*"
    rb"|\[[\x00-\x17\x19\x1c-\x1f -?\x7f]*"
    rb"|\][^\x07\x18\x1a\x1b]*"
    rb"|[PX^_][^\x18\x1a\x1b]*)\Z",
    re.DOTALL,
)


_NOTHING: Final = (b"\x1b]7777;", b"\x1b[<<", b"\x1bX")
"""Beginnings of what has no effect: a number that no terminal knows, a malformed control sequence, and a string that
every terminal ignores."""


def incomplete(data: bytes) -> int:
    """Return where the incomplete sequence at the end of `data` begins; its length where there is none."""
    at = data.rfind(b"\x1b")
    if at < 0:
        return len(data)
    if at == len(data) - 1 and (string := data.rfind(b"\x1b", 0, at)) >= 0:
        # ESC may be the first half of what ends a string.
        opened = _INCOMPLETE.match(data[:at], string)
        if opened is not None and at - string > 1 and data[string + 1] in b"]PX^_":
            return string
    return at if _INCOMPLETE.match(data, at) else len(data)


def remembered(partial: bytes) -> bytes:
    """Return the incomplete sequence `partial`, or where that is too long a short one that its rest completes."""
    if len(partial) <= PARTIAL and not partial.startswith(_NOTHING):
        return partial
    kind = partial[1:2]
    opened = _NOTHING[b"][".find(kind)] if kind in b"][PX^_" else partial[:2]
    # An ESC at the end may be the first half of what ends it.
    return opened + b"\x1b" if partial.endswith(b"\x1b") else opened


def cut_character(data: bytes) -> int:
    """Return where the incomplete UTF-8 character at the end of `data` begins; its length where there is none."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF8 else 0
            return len(data) - back if length > back else len(data)
    return len(data)
