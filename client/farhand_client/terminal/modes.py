"""The modes of the local terminal in the words of the wire, for the terminal that the program finds."""

from __future__ import annotations

import os
import termios
from typing import Any, Final, TypeAlias, get_args

from farhand_protocol.messages.terminal import ModeName

Attributes: TypeAlias = list[Any]
"""What `termios.tcgetattr` returns."""

OFF: Final = 255
"""The wire's word for a character that is switched off; termios(3) has `_POSIX_VDISABLE` for it, which differs."""

_IUTF8: Final = 0x4000
"""Linux's and macOS's number, which Python has no name for."""

_INPUT: Final = frozenset(
    {
        *("IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL"),
        *("IXON", "IXANY", "IXOFF", "IMAXBEL", "IUTF8"),
    }
)
_OUTPUT: Final = frozenset({"OPOST", "ONLCR", "OCRNL", "ONOCR", "ONLRET"})


def wire_modes(attributes: Attributes, disabled: int) -> tuple[tuple[ModeName, int], ...]:
    """Return the modes that this system knows of those the wire has; `disabled` is its `_POSIX_VDISABLE`."""
    modes: list[tuple[ModeName, int]] = []
    for name in get_args(ModeName):
        number = _IUTF8 if name == "IUTF8" else getattr(termios, name, None)
        if number is None:
            continue
        if name.startswith("V"):
            code = _code(attributes[6][number])
            modes.append((name, OFF if code == disabled else code))
        else:
            flags = attributes[0 if name in _INPUT else 1 if name in _OUTPUT else 3]
            modes.append((name, int(flags & number != 0)))
    return tuple(modes)


def disabled_character(fd: int) -> int:
    """Return the `_POSIX_VDISABLE` of the terminal `fd`: 0 on Linux, 255 on macOS."""
    return os.fpathconf(fd, "PC_VDISABLE") & 0xFF


def raw(attributes: Attributes) -> Attributes:
    """Return `attributes` with every byte passing as it is both ways, and each key at once.

    As cfmakeraw(3): the far terminal edits lines, echoes, makes signals of keys and newlines of line feeds, and what it
    has made shall not be made anew here.
    """
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = attributes
    iflag &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
        | termios.IXOFF
        | termios.IXANY
    )
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    characters = [*characters]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, characters]


def _code(character: bytes | int) -> int:
    return character if isinstance(character, int) else character[0]  # without ICANON some are numbers
