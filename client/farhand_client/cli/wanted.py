"""The terminal that a program is to find on the other machine, and the language it is to speak there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from farhand_client.terminal.local import FALLBACK_SIZE, LocalTerminal
from farhand_protocol.messages.terminal import TerminalRequest, WindowSize

UNKNOWN: Final = "dumb"
"""terminfo's name for a terminal that can do nothing, which every program has to bear."""

_NAME: Final = re.compile(r"[A-Za-z0-9.+_-]{1,64}")


def wanted(here: LocalTerminal | None, size: tuple[int, int] | None = None) -> TerminalRequest:
    """Return one like that here; where there is none, one of so many columns and rows (80x24) with usual modes.

    Raises ValueError for a TERM that is no terminal's name.
    """
    name = os.environ.get("TERM") or UNKNOWN
    if not _NAME.fullmatch(name):
        raise ValueError(f"TERM is {name!r}, which is no terminal's name; xterm-256color and dumb are")
    if here is None:
        return TerminalRequest(name=name, size=WindowSize(columns=size[0], rows=size[1]) if size else FALLBACK_SIZE)
    return TerminalRequest(name=name, size=here.size, modes=here.modes)


def locale() -> dict[bytes, bytes]:
    """Return the variables that say in which language and characters programs speak: what ssh sends on Debian."""
    ours = {name: value for name, value in os.environb.items() if name == b"LANG" or name.startswith(b"LC_")}
    if b"LC_CTYPE" in ours and not _given(b"LC_CTYPE"):
        del ours[b"LC_CTYPE"]
    return ours


def _given(name: bytes) -> bool:
    """Return whether this process was started with the variable: Python itself sets LC_CTYPE in the locale C (PEP 538),
    which says nothing about the user's terminal."""
    try:
        given = Path("/proc/self/environ").read_bytes()
    except OSError:  # not Linux; macOS has no such locale as a default
        return True
    return b"\0" + name + b"=" in b"\0" + given
