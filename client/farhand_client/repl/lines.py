"""Joins lines into complete commands, and finds the commands that change the REPL's own state. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .syntax import Operator, Scanner, scan

MAX_COMMAND: Final = 128 * 1024 - 1
"""Bytes of one command: Linux accepts 128 KiB, with the NUL at the end, as one argument (MAX_ARG_STRLEN, execve(2))."""

BUILTIN: Final = re.compile(r"\s*(cd|export|unset|exit)(?=\s|;|&|#|$)")
"""The commands that change what lasts from line to line; the shell that runs one line could not keep it."""


class LineJoiner:
    """Joins lines until they are a complete command: open quotes, here-documents, compound commands, backslashes."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lines: list[str] = []
        self._scanner = Scanner()
        self._size = 0

    @property
    def unfinished(self) -> str | None:
        """The construct that needs more lines; None between commands."""
        return self._scanner.unfinished if self._lines else None

    @property
    def pending(self) -> str:
        """The lines of the incomplete command."""
        return "\n".join(self._lines)

    def feed(self, line: str) -> str | None:
        """Add a line without its newline; return the command if it completes one.

        Raises ValueError for a command that is too long for any service to run; it is discarded.
        """
        self._lines.append(line)
        self._size += len(encode(line)) + 1
        if self._size - 1 > MAX_COMMAND:
            self._begin()
            raise ValueError(f"the command is longer than {MAX_COMMAND} bytes, which no program accepts as an argument")
        self._scanner.feed(line)
        if self._scanner.unfinished is not None:
            return None
        text = self.pending
        self._begin()
        return text


@dataclass(frozen=True, slots=True)
class Builtin:
    """A command at the beginning of a text that changes the REPL's state.

    `text` is the whole command, `words` what follows its name. `on_success` and `on_failure` are the rest of the text
    to run after it.
    """

    name: str
    text: str
    words: str
    on_success: str
    on_failure: str


def parse_builtin(text: str) -> Builtin | None:
    """Return the builtin that `text` begins with, if a shell would run it in its own process.

    That is so before `;`, `&&`, a newline or the end: not in a pipe, in the background, before `||`, or with a
    here-document.
    """
    match = BUILTIN.match(text)
    if match is None:
        return None
    first, *others = scan(text).operators
    head = text[: first.offset]
    if first.text not in (";", "&&", "\n", "#") or "<<" in head:
        return None
    # `cd x && make &` runs as a whole in the background, in a shell of its own; `||` binds the result of the whole
    # `&&` list.
    if first.text == "&&" and any(operator.text in ("&", "||") for operator in others):
        return None
    on_success = on_failure = text[first.offset :] if first.text == "#" else _after(text, first)
    if first.text == "&&":
        on_failure = next((_after(text, operator) for operator in others if operator.text in (";", "\n")), "")
    return Builtin(match[1], head.strip(), text[match.end() : first.offset].strip(), on_success, on_failure)


def _after(text: str, operator: Operator) -> str:
    return text[operator.offset + len(operator.text) :].lstrip()


def background_command(text: str) -> str | None:
    """Return what to run as a job if `text` ends with an `&` outside of all quotes and compound commands, else None.

    The job runs all of `text`; an `&` in its middle is left to the shell. With nothing before the `&` the result is
    None, and the shell reports the error.
    """
    scanner = scan(text)
    operators = [operator for operator in scanner.operators if operator.text not in ("\n", "#")]
    if not operators or operators[-1].text != "&" or scanner.last_word > operators[-1].offset:
        return None
    at = operators[-1].offset
    command = text[:at].rstrip() + text[at + 1 :].rstrip()
    if is_blank(text[:at]):
        return None
    # Without wait the run would end with its last command, and the service would stop the rest.
    return f"{command}\nwait" if any(operator.text == "&" for operator in operators[:-1]) else command


def is_blank(text: str) -> bool:
    """Return whether `text` contains only space and comments."""
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.split("\n"))


def encode(text: str) -> bytes:
    """Return the bytes that `decode` made `text` of, whatever the locale is."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """Return bytes as text; bytes that are not UTF-8 become lone surrogates (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")
