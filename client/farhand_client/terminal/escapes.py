"""Separates keys for the client from keys for the program.

As in ssh(1), an escape character after a newline makes the next key one for the client.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final

DEFAULT_ESCAPE: Final = ord("~")
"""As in ssh(1)."""

_ESC: Final = 0x1B
_PASTE_START: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"


class ClientKey(enum.Enum):
    """A key for the client; the value is its code."""

    LEAVE = ord(".")
    DETACH = ord("d")
    SUSPEND = 0x1A  # Ctrl-Z
    HELP = ord("?")


_CLIENT_KEYS: Final = {key.value: key for key in ClientKey}


class EscapeParser:
    """Splits typed bytes into bytes for the program and keys for the client.

    As in ssh(1), the escape character counts at the start and after CR or LF; typed twice it stands for itself; before
    any other key both go to the program. Text that the terminal marks as pasted (xterm's control sequences, "Bracketed
    Paste Mode") contains no keys for the client: otherwise pasting a line that begins with `~.` would end the client.
    """

    def __init__(self, character: int | None = DEFAULT_ESCAPE) -> None:
        """With None as `character`, no key is for the client."""
        self._character = character
        self._after_newline = re.compile(b"[\r\n](?=" + re.escape(bytes([character or 0])) + b")")
        self._line_start = True
        self._held = False
        self._pastes = _PasteTracker()

    def feed(self, data: bytes) -> list[bytes | ClientKey]:
        """Return what `data` consists of, in order: non-empty bytes for the program, and keys for the client."""
        if self._character is None:
            return [data] if data else []
        if data and not self._held and self._character not in data and self._pastes.unaffected(data):
            self._line_start = data[-1] in b"\r\n"
            return [data]
        parts: list[bytes | ClientKey] = []
        for part, pasted in self._pastes.split(data):
            if pasted:
                self._pass(part, parts)
            else:
                self._parse(part, parts)
        return _joined(parts)

    def _parse(self, data: bytes, parts: list[bytes | ClientKey]) -> None:
        assert self._character is not None
        at = 0
        while at < len(data):
            byte = data[at]
            if self._held:
                self._held = False
                if byte in _CLIENT_KEYS:
                    parts.append(_CLIENT_KEYS[byte])
                else:
                    parts.append(bytes([byte] if byte == self._character else [self._character, byte]))
                    self._line_start = byte in b"\r\n"
                at += 1
            elif self._line_start and byte == self._character:
                self._held = True
                at += 1
            else:
                found = self._after_newline.search(data, at)
                end = found.end() if found else len(data)
                self._pass(data[at:end], parts)
                at = end

    def _pass(self, data: bytes, parts: list[bytes | ClientKey]) -> None:
        if data:
            if self._held:
                assert self._character is not None
                self._held = False
                parts.append(bytes([self._character]))
            parts.append(data)
            self._line_start = data[-1] in b"\r\n"


class _PasteTracker:
    """Finds where pasted text starts and ends, however the bytes are split."""

    def __init__(self) -> None:
        self._inside = False
        self._before = b""  # the last bytes seen: a mark may have started there

    def unaffected(self, data: bytes) -> bool:
        """Whether `data` can neither be in a paste nor start one, so that it need not be split."""
        return not self._inside and _ESC not in data and _ESC not in self._before

    def split(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield `data` in parts, each with whether it was pasted. A start mark is not part of the paste, an end mark
        is."""
        window = self._before + data
        at, searched = len(self._before), 0
        while True:
            mark = _PASTE_END if self._inside else _PASTE_START
            found = window.find(mark, searched)
            if found < 0:
                break
            searched = found + len(mark)
            yield window[at:searched], self._inside
            at = searched
            self._inside = not self._inside
        yield window[at:], self._inside
        self._before = window[-(len(_PASTE_START) - 1) :]


def parse_escape_character(text: str) -> int | None:
    """Return the code of an escape character given as one ASCII character, as `^X`, or as `none` (None).

    Raises ValueError.
    """
    if text == "none":
        return None
    if len(text) == 1 and " " < text < "\x7f":
        return ord(text)
    if len(text) == 2 and text[0] == "^" and "@" < text[1].upper() <= "_":
        return ord(text[1].upper()) - 0x40
    raise ValueError(
        f"{text!r} is not an escape character; use a character such as ~, a control character such as ^], or none"
    )


def caret_notation(code: int) -> str:
    """Return a character as people write it: control characters with a circumflex."""
    return chr(code) if code >= 0x20 else f"^{chr(code + 0x40)}"


def _joined(parts: list[bytes | ClientKey]) -> list[bytes | ClientKey]:
    joined: list[bytes | ClientKey] = []
    for plain, group in groupby(parts, lambda part: isinstance(part, bytes)):
        if plain:
            joined.append(b"".join(part for part in group if isinstance(part, bytes)))
        else:
            joined.extend(group)
    return joined
