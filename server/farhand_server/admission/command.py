"""Renders a command as text for people: one line, safe on any terminal; pasted into a shell it means the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from farhand_protocol import messages as m


def command_text(request: m.RunRequest, *, shell: bytes) -> str:
    """Return the arguments quoted for a shell, or the shell's text, cut at `m.MAX_COMMAND_TEXT` characters.

    For a login shell, where `shell` is the account's, return the name that ps(1) shows for it.
    """
    if request.login:
        return _quoted(login_name(shell))[: m.MAX_COMMAND_TEXT]
    if request.shell is not None:
        return request.shell.decode(errors="backslashreplace")[: m.MAX_COMMAND_TEXT]
    # Each argument has at least one character, so arguments beyond this number would be cut anyway.
    return _joined((request.argv or ())[: m.MAX_COMMAND_TEXT])[: m.MAX_COMMAND_TEXT]


def login_name(shell: bytes) -> bytes:
    """Return the name by which a shell knows that it is a login shell (login(1), bash(1) INVOCATION)."""
    return b"-" + shell.rpartition(b"/")[2]


def _joined(argv: Sequence[bytes]) -> str:
    return " ".join(_quoted(argument[: 4 * m.MAX_COMMAND_TEXT]) for argument in argv)


def _quoted(argument: bytes) -> str:
    text = argument.decode(errors="surrogateescape")
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(char: str) -> str:
    """Return a character as it is written inside `$'…'` (bash(1), QUOTING)."""
    if char in "\\'":
        return "\\" + char
    if char.isprintable():
        return char
    return _NAMED.get(char) or "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogateescape"))


_NAMED = {"\n": r"\n", "\t": r"\t"}
