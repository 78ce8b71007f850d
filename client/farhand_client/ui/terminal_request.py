"""The terminal and locale that are requested for a program on the remote host: those of the user."""

from __future__ import annotations

import os
import re
from typing import Final

from farhand_client.caller import initial_environment
from farhand_client.terminal.local import FALLBACK_SIZE, LocalTerminal
from farhand_protocol.messages.terminal import TerminalRequest, WindowSize

UNKNOWN_TERMINAL: Final = "dumb"
"""terminfo's name for a terminal without any capabilities, which every program has to cope with."""

_NAME: Final = re.compile(r"[A-Za-z0-9.+_-]{1,64}")


def terminal_request(here: LocalTerminal | None, size: tuple[int, int] | None = None) -> TerminalRequest:
    """Return a request for a terminal like `here`, or without one for `size` (columns, rows; 80x24) and usual modes.

    Raises ValueError if TERM is not the name of a terminal.
    """
    name = os.environ.get("TERM") or UNKNOWN_TERMINAL
    if not _NAME.fullmatch(name):
        raise ValueError(f"TERM is {name!r}, which is not the name of a terminal; use xterm-256color or dumb")
    if here is None:
        return TerminalRequest(name=name, size=WindowSize(columns=size[0], rows=size[1]) if size else FALLBACK_SIZE)
    return TerminalRequest(name=name, size=here.size, modes=here.modes)


def locale_variables() -> dict[bytes, bytes]:
    """Return the local LANG and LC_* variables: the ones that ssh sends on Debian."""
    variables = {name: value for name, value in os.environb.items() if name == b"LANG" or name.startswith(b"LC_")}
    if b"LC_CTYPE" in variables and not _inherited(b"LC_CTYPE"):
        del variables[b"LC_CTYPE"]
    return variables


def _inherited(name: bytes) -> bool:
    """Return whether this process was started with the variable `name`.

    Python itself sets LC_CTYPE in the C locale (PEP 538), which says nothing about the user's terminal.
    """
    try:
        environment = initial_environment()
    except OSError:  # not Linux; macOS does not use the C locale by default
        return True
    return b"\0" + name + b"=" in b"\0" + environment
