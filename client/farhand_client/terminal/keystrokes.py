"""What typed bytes mean to a line editor: characters, corrections, line ends, and keys whose effect only it knows."""

from __future__ import annotations

import codecs
import enum
import re
from typing import Final, NamedTuple

from .grid import character_width


class KeyKind(enum.Enum):
    """What a key does to the line that is being typed."""

    CHARACTER = enum.auto()
    BACKSPACE = enum.auto()
    LEFT = enum.auto()
    RIGHT = enum.auto()
    LINE_END = enum.auto()
    """The line is done, or given up (Ctrl-C): what is typed next belongs to another one."""
    OTHER = enum.auto()
    """Nobody but the program knows."""


class Keystroke(NamedTuple):
    """One key; `text` is the character of a `CHARACTER`."""

    kind: KeyKind
    text: str = ""


BACKSPACE: Final = Keystroke(KeyKind.BACKSPACE)
LEFT: Final = Keystroke(KeyKind.LEFT)
RIGHT: Final = Keystroke(KeyKind.RIGHT)
LINE_END: Final = Keystroke(KeyKind.LINE_END)
OTHER: Final = Keystroke(KeyKind.OTHER)

_CONTROLS: Final = {"\r": LINE_END, "\n": LINE_END, "\x03": LINE_END, "\x7f": BACKSPACE, "\b": BACKSPACE}

_ARROWS: Final = {"[C": RIGHT, "OC": RIGHT, "[D": LEFT, "OD": LEFT}
"""Both forms of the arrow keys: the second one while application cursor keys are set."""

# What follows ESC: a control sequence, with the mouse's oldest form (three characters after CSI M), SS3 and a
# character, a terminal's answer in a control string, or one character (a key with Alt).
_AFTER_ESCAPE: Final = re.compile(
    r"\[M[^\x1b]{3}|\[(?!M)[0-?]*[ -/]*[@-~]|O[^\x1b]|[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)|[^\[O\]P^_X\x1b]", re.DOTALL
)

MAX_PARTIAL_KEY: Final = 256
"""Characters of an incomplete sequence that are remembered: more than any key or answer of a terminal has, except
those about clipboards and colours, whose rest then counts as typed characters that nobody shows."""


class KeystrokeParser:
    """Splits typed bytes into keys, however the bytes are split."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""

    def feed(self, data: bytes) -> list[Keystroke]:
        """Return the keys that `data` completes."""
        text = self._partial + self._decoder.decode(data)
        self._partial = ""
        keys: list[Keystroke] = []
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                keys.append(_plain_key(text[at]))
                at += 1
                continue
            sequence = _AFTER_ESCAPE.match(text, at + 1)
            if sequence is not None:
                keys.append(_ARROWS.get(sequence[0], OTHER))
                at = sequence.end()
                continue
            again = text.find("\x1b", at + 1)
            if again < 0 or (text[at + 1] in "]P^_X" and text[again + 1 : again + 2] in ("", "\\")):
                if len(text) - at <= MAX_PARTIAL_KEY:
                    self._partial = text[at:]
                keys.append(OTHER)
                break
            keys.append(OTHER)
            at = again
        return keys


def _plain_key(char: str) -> Keystroke:
    if char >= " " and char != "\x7f":
        return Keystroke(KeyKind.CHARACTER, char) if character_width(char) == 1 else OTHER
    return _CONTROLS.get(char, OTHER)
