"""Keys for the client itself among those for the program: a character behind a newline that escapes the next one."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final

DEFAULT: Final = ord("~")
"""As ssh(1)."""

_ESC: Final = 0x1B
_PASTE: Final = b"\x1b[200~"
_PASTED: Final = b"\x1b[201~"


class Key(enum.Enum):
    """What such a key asks for."""

    LEAVE = ord(".")
    DETACH = ord("d")
    SUSPEND = 0x1A  # Ctrl-Z
    HELP = ord("?")


_KEYS: Final = {key.value: key for key in Key}


class Escapes:
    """Tells them apart.

    As ssh(1), the character counts at the beginning and behind CR or LF, and given twice is itself; before anything
    else it goes to the program together with that. What a terminal marks as pasted (xterm's control
    sequences, "Bracketed Paste Mode") has no such keys: a text with `~.` at the beginning of a line would leave.
    """

    def __init__(self, character: int | None = DEFAULT) -> None:
        """With None there are no such keys."""
        self._character = character
        self._after_newline = re.compile(b"[\r\n](?=" + re.escape(bytes([character or 0])) + b")")
        self._fresh = True
        self._held = False
        self._pastes = _Pastes()

    def feed(self, data: bytes) -> list[bytes | Key]:
        """Return what `data` is made of, in its order: bytes for the program, never empty, and keys."""
        if self._character is None:
            return [data] if data else []
        if data and not self._held and self._character not in data and self._pastes.none(data):
            self._fresh = data[-1] in b"\r\n"
            return [data]
        pieces: list[bytes | Key] = []
        for part, pasted in self._pastes.split(data):
            if pasted:
                self._pass(part, pieces)
            else:
                self._typed(part, pieces)
        return _joined(pieces)

    def _typed(self, data: bytes, pieces: list[bytes | Key]) -> None:
        assert self._character is not None
        at = 0
        while at < len(data):
            byte = data[at]
            if self._held:
                self._held = False
                if byte in _KEYS:
                    pieces.append(_KEYS[byte])
                else:
                    pieces.append(bytes([byte] if byte == self._character else [self._character, byte]))
                    self._fresh = byte in b"\r\n"
                at += 1
            elif self._fresh and byte == self._character:
                self._held = True
                at += 1
            else:
                found = self._after_newline.search(data, at)
                end = found.end() if found else len(data)
                self._pass(data[at:end], pieces)
                at = end

    def _pass(self, data: bytes, pieces: list[bytes | Key]) -> None:
        if data:
            if self._held:
                assert self._character is not None
                self._held = False
                pieces.append(bytes([self._character]))
            pieces.append(data)
            self._fresh = data[-1] in b"\r\n"


class _Pastes:
    """Finds where pasted text begins and ends, however the bytes come in pieces."""

    def __init__(self) -> None:
        self._inside = False
        self._before = b""  # the last bytes that came: a mark may have begun there

    def none(self, data: bytes) -> bool:
        """Whether `data` has nothing to do with a paste; then it need not be split."""
        return not self._inside and _ESC not in data and _ESC not in self._before

    def split(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Give `data` in parts, each with whether it was pasted. The marks belong to no paste, or to its end."""
        window = self._before + data
        at, searched = len(self._before), 0
        while True:
            mark = _PASTED if self._inside else _PASTE
            found = window.find(mark, searched)
            if found < 0:
                break
            searched = found + len(mark)
            yield window[at:searched], self._inside
            at = searched
            self._inside = not self._inside
        yield window[at:], self._inside
        self._before = window[-(len(_PASTE) - 1) :]


def character(text: str) -> int | None:
    """Return the code that `text` means: one ASCII character, `^X` for a control character, or `none`.

    Raises ValueError.
    """
    if text == "none":
        return None
    if len(text) == 1 and " " < text < "\x7f":
        return ord(text)
    if len(text) == 2 and text[0] == "^" and "@" < text[1].upper() <= "_":
        return ord(text[1].upper()) - 0x40
    raise ValueError(f"{text!r} is no escape character: one like ~, a control character like ^], or none is needed")


def _joined(pieces: list[bytes | Key]) -> list[bytes | Key]:
    joined: list[bytes | Key] = []
    for plain, group in groupby(pieces, lambda piece: isinstance(piece, bytes)):
        if plain:
            joined.append(b"".join(piece for piece in group if isinstance(piece, bytes)))
        else:
            joined.extend(group)
    return joined
