"""Lines become commands: lines that belong together are joined, and what changes the REPL itself is found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .syntax import Mark, Scanner, scan

MAX_COMMAND: Final = 128 * 1024 - 1
"""Bytes of one command: Linux takes 128 KiB, with the NUL at the end, as one argument (MAX_ARG_STRLEN, execve(2))."""

OWN: Final = re.compile(r"\s*(cd|export|unset|exit)(?=\s|;|&|#|$)")
"""The commands that change the REPL, which outlives the shell that runs a line."""


class Assembler:
    """Joins lines until they are a whole command: open quotes, here-documents, compound commands, backslashes."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lines: list[str] = []
        self._scanner = Scanner()
        self._size = 0

    @property
    def unfinished(self) -> str | None:
        """What waits for more lines; None between commands."""
        return self._scanner.unfinished if self._lines else None

    @property
    def rest(self) -> str:
        """The lines that wait for more."""
        return "\n".join(self._lines)

    def feed(self, line: str) -> str | None:
        """Take a line without its newline; return the command that is whole with it.

        Raises ValueError for a command that no service could run; it is thrown away.
        """
        self._lines.append(line)
        self._size += len(encode(line)) + 1
        if self._size - 1 > MAX_COMMAND:
            self._begin()
            raise ValueError(f"the command is longer than {MAX_COMMAND} bytes, which no program takes as an argument")
        self._scanner.feed(line)
        if self._scanner.unfinished is not None:
            return None
        text = self.rest
        self._begin()
        return text


@dataclass(frozen=True, slots=True)
class Own:
    """A command for the REPL that begins a text. `text` is all of it, `words` what stands behind its name."""

    name: str
    text: str
    words: str
    then: str
    """What is to be run where it succeeds."""
    otherwise: str
    """What is to be run where it fails."""


def own(text: str) -> Own | None:
    """Return the command for the REPL that `text` begins with, where the shell would run it in itself.

    That is where `;`, `&&`, a newline or the end follow: not in a pipe, in the background, with `||`, or with a
    here-document.
    """
    match = OWN.match(text)
    if match is None:
        return None
    first, *others = scan(text).marks
    head = text[: first.offset]
    if first.text not in (";", "&&", "\n", "#") or "<<" in head:
        return None
    # In `cd x && make &` all of it is in the background, in a shell of its own; `||` belongs to both sides of `&&`.
    if first.text == "&&" and any(mark.text in ("&", "||") for mark in others):
        return None
    then = otherwise = text[first.offset :] if first.text == "#" else _behind(text, first)
    if first.text == "&&":
        otherwise = next((_behind(text, mark) for mark in others if mark.text in (";", "\n")), "")
    return Own(match[1], head.strip(), text[match.end() : first.offset].strip(), then, otherwise)


def _behind(text: str, mark: Mark) -> str:
    return text[mark.offset + len(mark.text) :].lstrip()


def background(text: str) -> str | None:
    """Return what is to run in the background where `text` ends with `&`, outside of all quotes and compound commands.

    It is all of `text`, and the shell's own background where there is an `&` in its middle too. None where nothing
    stands before the `&`: that is the shell's error.
    """
    scanner = scan(text)
    marks = [mark for mark in scanner.marks if mark.text not in ("\n", "#")]
    if not marks or marks[-1].text != "&" or scanner.last_word > marks[-1].offset:
        return None
    at = marks[-1].offset
    rest = text[:at].rstrip() + text[at + 1 :].rstrip()
    if blank(text[:at]):
        return None
    # Else the run would be over, and what goes on be stopped, once the last of its commands is.
    return f"{rest}\nwait" if any(mark.text == "&" for mark in marks[:-1]) else rest


def blank(text: str) -> bool:
    """Whether there is nothing in `text` to run, only space and comments."""
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.split("\n"))


def encode(text: str) -> bytes:
    """Return the bytes that `decode` made `text` of, whatever the locale."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """Return bytes as text; what is not UTF-8 becomes lone surrogates (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")
