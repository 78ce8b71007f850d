"""Renders a command as one line of text for people, which is safe on any terminal and keeps its meaning when pasted
into a shell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.sentences import shell_quoted


def command_text(request: m.RunRequest, *, shell: bytes) -> str:
    """Return the arguments quoted for a shell, or the shell's text, truncated to `m.MAX_COMMAND_TEXT` characters.

    For a request for a login shell, return the name that ps(1) shows for `shell`, the account's shell; for a transfer,
    `get` or `put` and the paths on this machine, quoted, but for the characters of patterns; for a tunnel, `forward`
    and its purpose.
    """
    if request.transfer is not None:
        return transfer_text("get" if request.transfer.access == "read" else "put", request.transfer.paths)
    if request.forward is not None:
        return f"forward {request.forward.purpose}".rstrip()
    if request.login:
        return _joined((login_name(shell),))[: m.MAX_COMMAND_TEXT]
    if request.shell is not None:
        return request.shell.decode(errors="backslashreplace")[: m.MAX_COMMAND_TEXT]
    text = ""
    for argument in request.argv or ():  # a thousand would take 10 ms, and most would be truncated
        text += f"{' ' if text else ''}{_joined((argument,))}"
        if len(text) > m.MAX_COMMAND_TEXT:
            break
    return text[: m.MAX_COMMAND_TEXT]


def transfer_text(verb: str, paths: Sequence[bytes]) -> str:
    """Return what is done to paths on this machine, quoted, but for the characters of patterns, and truncated."""
    return " ".join((verb, *map(_path, paths)))[: m.MAX_COMMAND_TEXT]


def shell_argv(shell: bytes, script: bytes) -> tuple[bytes, ...]:
    """Return the arguments with which `shell` executes `script`, also if the script begins as an option does.

    POSIX shells go on looking for options after `-c`, and need `--` before such a script (sh(1), bash(1), dash(1),
    zsh(1), ksh(1), mksh(1), yash(1); each was tried). fish, csh, tcsh and rc take the argument after `-c` whatever it
    is, and would execute the `--`. Any other program is treated like these, as sshd does.
    """
    name = shell.rpartition(b"/")[2]
    if script[:1] in (b"-", b"+") and _POSIX_SHELL.fullmatch(name):
        return (shell, b"-c", b"--", script)
    return (shell, b"-c", script)


_POSIX_SHELL: Final = re.compile(rb"r?(|b|ba|da|a|z|k|mk|lk|ok|pdk|ya)sh[0-9.-]*(u\+m)?(-static)?")
"""The names of POSIX shells: `sh`, `bash`, `rbash`, `bash-5.2`, `ksh93`, …"""


def login_name(shell: bytes) -> bytes:
    """Return the `argv[0]` that tells a shell to act as a login shell (login(1), bash(1) INVOCATION)."""
    return b"-" + shell.rpartition(b"/")[2]


def _path(path: bytes) -> str:
    plain = path.translate(None, b"*?[]~")  # what a pattern is made of, and a home, would be hidden by quotes
    return path.decode() if not plain or _joined((plain,)).encode() == plain else _joined((path,))


def _joined(argv: Sequence[bytes]) -> str:
    return shell_quoted(argument[: 4 * m.MAX_COMMAND_TEXT].decode(errors="surrogateescape") for argument in argv)
