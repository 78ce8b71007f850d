"""The grammar of terminal output (characters, control sequences, control strings), and the settings found in it.

The grammar is that of ECMA-48, 5.4 to 5.6, as terminals parse it (the state machine of DEC's VT500 series): CAN and
SUB abort a sequence, and so does ESC, which starts another; other control characters inside a control sequence take
effect at once.

`follow_settings` extracts settings with a few regular expressions instead of parsing everything, because it sees all
output and has to keep pace with a flood.
"""

from __future__ import annotations

import re
from typing import Final

from .grid import DEFAULT_ATTRIBUTES, apply_sgr
from .settings import TerminalSettings

CANCEL_SEQUENCE: Final = b"\x18"
"""CAN: makes a terminal drop the sequence it is in the middle of; otherwise it has no effect."""

MAX_PARTIAL_SEQUENCE: Final = 4096
"""Bytes of an incomplete sequence that are remembered: enough for titles, queries, links. Longer ones (pictures,
clipboards) cannot be repeated in a few bytes; their rest is diverted into an empty string instead."""

# The body of a control sequence: its parameters, and control characters that take effect at once.
_BODY = r"[\x00-\x17\x19\x1c-\x1f -?\x7f]*"

TOKEN: Final = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f]+)"
    rf"|\x1b\[(?P<body>{_BODY})(?:(?P<final>[@-~])|[\x18\x1a]|(?=[^\x00-\x7f])|(?=\x1b))"
    r"|\x1b\][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\|[\x18\x1a]|(?=\x1b))"
    r"|\x1b[PX^_][^\x18\x1a\x1b]*(?:\x1b\\|[\x18\x1a]|(?=\x1b))"
    r"|\x1b(?P<intermediates>[ -/]*)(?P<escape>[0-~])"
    r"|(?P<control>[\x00-\x1f\x7f])",
    re.DOTALL,
)
"""Matched one after the other, these cover all output except an incomplete sequence at the end."""

_INCOMPLETE: Final = re.compile(
    rb"\x1b(?:[ -/]*"
    rb"|\[[\x00-\x17\x19\x1c-\x1f -?\x7f]*"
    rb"|\][^\x07\x18\x1a\x1b]*"
    rb"|[PX^_][^\x18\x1a\x1b]*)\Z",
    re.DOTALL,
)

_NO_EFFECT: Final = (b"\x1b]7777;", b"\x1b[<<", b"\x1bX")
"""Beginnings of sequences without effect: a number that no terminal knows, a malformed control sequence, and a string
that every terminal ignores."""

# Attributes and (with ncurses) charsets change all the time and only the last one counts, so they are matched apart.
_LASTING: Final = re.compile(
    rb"\x1b(?:"
    rb"\[(?:(?P<prefix>[?>=<!])(?P<parameters>[0-9;]{0,64})(?P<final>[hlmnup])"
    rb"|(?P<bare>[0-9;]{0,64})(?P<last>[hlrs]| q))"
    rb"|\](?P<code>0|2|4|8|1[0-2]|104|11[0-2])(?P<text>(?:;[^\x07\x18\x1a\x1b]*)?)(?:\x07|\x1b\\)"
    rb"|(?P<escape>[=>c7]))"
)

_RESET: Final = re.compile(rb".*\x1b(?:c|\[!p)", re.DOTALL)

# Parameters that are empty or begin with 0 reset all attributes: nothing before them counts.
_ATTRIBUTES_RESET: Final = re.compile(rb".*(?=\x1b\[0*(?:;[0-9:;]*)?m)", re.DOTALL)

_SGR: Final = re.compile(rb"\x1b\[([0-9:;]*)m")

# A control string up to its terminator; SO and SI have no effect inside.
_STRING: Final = re.compile(rb"\x1b(?:\][^\x07\x18\x1a\x1b]*|[PX^_][^\x18\x1a\x1b]*)")

_CHARSETS: Final = tuple(re.compile(rb".*\x1b" + which + rb"([0-~])", re.DOTALL) for which in (rb"\(", rb"\)"))


def incomplete_start(data: bytes) -> int:
    """Return the offset of the incomplete sequence at the end of `data`; its length if there is none."""
    at = data.rfind(b"\x1b")
    if at < 0:
        return len(data)
    if at == len(data) - 1 and (string := data.rfind(b"\x1b", 0, at)) >= 0:
        # ESC may be the first half of a string terminator.
        opened = _INCOMPLETE.match(data[:at], string)
        if opened is not None and at - string > 1 and data[string + 1] in b"]PX^_":
            return string
    return at if _INCOMPLETE.match(data, at) else len(data)


def bounded_partial(partial: bytes) -> bytes:
    """Return the incomplete sequence `partial`, or if it is too long, a short one that the same rest completes."""
    if len(partial) <= MAX_PARTIAL_SEQUENCE and not partial.startswith(_NO_EFFECT):
        return partial
    kind = partial[1:2]
    opened = _NO_EFFECT[b"][".find(kind)] if kind in b"][PX^_" else partial[:2]
    # An ESC at the end may be the first half of the terminator.
    return opened + b"\x1b" if partial.endswith(b"\x1b") else opened


def incomplete_character_start(data: bytes) -> int:
    """Return the offset of the incomplete UTF-8 character at the end of `data`; its length if there is none."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF8 else 0
            return len(data) - back if length > back else len(data)
    return len(data)


def follow_settings(settings: TerminalSettings, data: bytes) -> TerminalSettings:
    """Return the settings after `data`, which has to consist of whole sequences.

    `settings` is not changed; it is returned as it is if `data` sets nothing.
    """
    if b"\x1b" not in data:
        return _follow_shift(settings, data, 0)
    after = settings.copy()
    for match in _LASTING.finditer(data):
        _apply(after, match)
    reset = _RESET.match(data)
    begin = reset.end() if reset else 0
    plain = _ATTRIBUTES_RESET.match(data, begin)
    attributes = DEFAULT_ATTRIBUTES if plain else after.attributes
    for selection in _SGR.finditer(data, plain.end() if plain else begin):
        attributes = apply_sgr(attributes, selection[1].decode("ascii"))
    after.attributes = attributes
    found = [pattern.match(data, begin) for pattern in _CHARSETS]
    if any(found):
        first, second = (
            match[1].decode("ascii") if match else charset for match, charset in zip(found, after.charsets, strict=True)
        )
        after.charsets = (first, second)
    return _follow_shift(after, data, begin)


def _follow_shift(settings: TerminalSettings, data: bytes, begin: int) -> TerminalSettings:
    if b"\x1b" in data and (b"\x0e" in data or b"\x0f" in data):
        data, begin = _STRING.sub(b"", data[begin:]), 0
    out, back = data.rfind(b"\x0e", begin), data.rfind(b"\x0f", begin)
    if out != back and settings.shifted is not (out > back):
        settings = settings.copy()
        settings.shifted = out > back
    return settings


def _apply(settings: TerminalSettings, match: re.Match[bytes]) -> None:
    if match.lastgroup == "escape":
        settings.apply_escape(match["escape"].decode("ascii"))
    elif match.lastgroup == "text":
        settings.apply_osc(match["code"].decode("ascii"), match["text"][1:].decode("utf-8", "replace"))
    else:
        prefix, parameters, final, bare, last = match.group("prefix", "parameters", "final", "bare", "last")
        if final is None:
            prefix, parameters, final = b"", bare, last
        settings.apply_csi(prefix.decode("ascii"), parameters.decode("ascii"), final.decode("ascii"))
