"""A line editor like readline, without a terminal: it returns what it prints."""

from __future__ import annotations

from collections.abc import Iterator


class LineEditor:
    """Edits lines at a prompt, like readline; each line that is done prints `result`."""

    def __init__(self, prompt: bytes = b"$ ", result: bytes = b"", *, brackets: bool = True) -> None:
        self._prompt = (b"\x1b[?2004h" if brackets else b"") + prompt
        self._done = (b"\r\n\x1b[?2004l\r" if brackets else b"\r\n") + result
        self._line = ""
        self._at = 0

    def start(self) -> bytes:
        """Return the first output."""
        return self._prompt

    def reads(self, typed: str) -> bytes:
        """Return the output for keys: characters, CR, DEL, and `<` and `>` for the arrow keys."""
        return b"".join(self._key(key) for key in typed)

    def _key(self, key: str) -> bytes:
        at, line = self._at, self._line
        match key:
            case "\r":
                self._line, self._at = "", 0
                return self._done + self._prompt
            case "<":
                self._at = max(0, at - 1)
                return b"\b" if at else b"\x07"
            case ">":
                self._at = min(len(line), at + 1)
                return line[at : at + 1].encode() or b"\x07"
            case "\x7f":
                if not at:
                    return b"\x07"
                self._line, self._at = line[: at - 1] + line[at:], at - 1
                return b"\b" + line[at:].encode() + b" " + b"\b" * (len(line) - at + 1)
            case _:
                self._line, self._at = line[:at] + key + line[at:], at + 1
                return key.encode() + line[at:].encode() + b"\b" * (len(line) - at)


def keys(typed: str) -> Iterator[bytes]:
    """Yield what a terminal sends for the keys of `LineEditor.reads`."""
    arrows = {"<": b"\x1b[D", ">": b"\x1b[C"}
    return (arrows.get(key, key.encode()) for key in typed)
