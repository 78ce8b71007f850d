"""A command as a person may read it: on one line of any terminal, and, pasted into a shell, the same again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from farhand_protocol import messages as m


def command_text(request: m.RunRequest, *, shell: bytes) -> str:
    """Return the arguments as a shell would read them, or the shell's text, cut at `m.MAX_COMMAND_TEXT` characters.

    Of a login shell, with `shell` as the account's, the name that ps(1) knows it by.
    """
    if request.login:
        return _quoted(login_name(shell))[: m.MAX_COMMAND_TEXT]
    if request.shell is not None:
        return request.shell.decode(errors="backslashreplace")[: m.MAX_COMMAND_TEXT]
    # Each argument has a character at the least: what comes behind so many is cut away.
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
    """Return a character as `$'…'` has it (bash(1), QUOTING)."""
    if char in "\\'":
        return "\\" + char
    if char.isprintable():
        return char
    return _NAMED.get(char) or "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogateescape"))


_NAMED = {"\n": r"\n", "\t": r"\t"}
