"""Follows what a program sets while its output passes, at the speed of a flood."""

from __future__ import annotations

import re
from typing import Final

from .graphics import PLAIN, changed
from .settings import Settings

# What changes all the time (colours, and with ncurses the charset) is left out here: of that, only the last counts.
_LASTING: Final = re.compile(
    rb"\x1b(?:"
    rb"\[(?:(?P<prefix>[?>=<!])(?P<parameters>[0-9;]{0,64})(?P<final>[hlmnup])"
    rb"|(?P<bare>[0-9;]{0,64})(?P<last>[hlrs]| q))"
    rb"|\](?P<code>0|2|4|8|1[0-2]|104|11[0-2])(?P<text>(?:;[^\x07\x18\x1a\x1b]*)?)(?:\x07|\x1b\\)"
    rb"|(?P<escape>[=>c7]))"
)

_BEGIN_ANEW: Final = re.compile(rb".*\x1b(?:c|\[!p)", re.DOTALL)

# Parameters that begin with 0, or none, say all there is to say of how characters look.
_PLAIN: Final = re.compile(rb".*(?=\x1b\[0*(?:;[0-9:;]*)?m)", re.DOTALL)

_GRAPHICS: Final = re.compile(rb"\x1b\[([0-9:;]*)m")

_CHARSETS: Final = tuple(re.compile(rb".*\x1b" + which + rb"([0-~])", re.DOTALL) for which in (rb"\(", rb"\)"))


def followed(settings: Settings, data: bytes) -> Settings:
    """Return what is set after `data`, whole sequences: the same object where there is none in it."""
    if b"\x1b" not in data:
        return _shifted(settings, data, 0)
    after = settings.copy()
    for match in _LASTING.finditer(data):
        _apply(after, match)
    anew = _BEGIN_ANEW.match(data)
    begin = anew.end() if anew else 0
    plain = _PLAIN.match(data, begin)
    attributes = PLAIN if plain else after.attributes
    for selected in _GRAPHICS.finditer(data, plain.end() if plain else begin):
        attributes = changed(attributes, selected[1].decode("ascii"))
    after.attributes = attributes
    found = [pattern.match(data, begin) for pattern in _CHARSETS]
    if any(found):
        first, second = (
            match[1].decode("ascii") if match else charset for match, charset in zip(found, after.charsets, strict=True)
        )
        after.charsets = (first, second)
    return _shifted(after, data, begin)


def _shifted(settings: Settings, data: bytes, begin: int) -> Settings:
    out, back = data.rfind(b"\x0e", begin), data.rfind(b"\x0f", begin)
    if out != back and settings.shifted is not (out > back):
        settings = settings.copy()
        settings.shifted = out > back
    return settings


def _apply(settings: Settings, match: re.Match[bytes]) -> None:
    if match.lastgroup == "escape":
        settings.escape(match["escape"].decode("ascii"))
    elif match.lastgroup == "text":
        settings.command(match["code"].decode("ascii"), match["text"][1:].decode("utf-8", "replace"))
    else:
        prefix, parameters, final, bare, last = match.group("prefix", "parameters", "final", "bare", "last")
        if final is None:
            prefix, parameters, final = b"", bare, last
        settings.control(prefix.decode("ascii"), parameters.decode("ascii"), final.decode("ascii"))
