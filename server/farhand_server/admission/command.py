"""Renders a command as one line of text for people, which is safe on any terminal and keeps its meaning when pasted
into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from farhand_protocol import messages as m


def command_text(request: m.RunRequest, *, shell: bytes) -> str:
    """Return the arguments quoted for a shell, or the shell's text, truncated to `m.MAX_COMMAND_TEXT` characters.

    For a request for a login shell, return the name that ps(1) shows for `shell`, the account's shell.
    """
    if request.login:
        return _quoted(login_name(shell))[: m.MAX_COMMAND_TEXT]
    if request.shell is not None:
        return request.shell.decode(errors="backslashreplace")[: m.MAX_COMMAND_TEXT]
    # Each argument needs at least one character, so arguments beyond this number would be truncated anyway.
    return _joined((request.argv or ())[: m.MAX_COMMAND_TEXT])[: m.MAX_COMMAND_TEXT]


def login_name(shell: bytes) -> bytes:
    """Return the `argv[0]` that tells a shell to act as a login shell (login(1), bash(1) INVOCATION)."""
    return b"-" + shell.rpartition(b"/")[2]


def _joined(argv: Sequence[bytes]) -> str:
    return " ".join(_quoted(argument[: 4 * m.MAX_COMMAND_TEXT]) for argument in argv)


def _quoted(argument: bytes) -> str:
    text = argument.decode(errors="surrogateescape")
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(char: str) -> str:
    """Return a character in the form it has inside `$'…'` (bash(1), QUOTING)."""
    if char in "\\'":
        return "\\" + char
    if char.isprintable():
        return char
    return _NAMED.get(char) or "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogateescape"))


_NAMED = {"\n": r"\n", "\t": r"\t"}
