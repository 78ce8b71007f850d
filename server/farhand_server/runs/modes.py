"""Modes of a terminal: from the names that SSH has for them (RFC 4254, 8) to termios(3)."""

from __future__ import annotations

import termios
from collections.abc import Iterable
from typing import Final

IUTF8: Final = 0o40000
"""asm-generic/termbits-common.h, the same everywhere; Python has no name for it before 3.14."""

_INPUT: Final = ("IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL", "IXON", "IXANY", "IXOFF", "IMAXBEL")
_OUTPUT: Final = ("OPOST", "ONLCR", "OCRNL", "ONOCR", "ONLRET")
_LOCAL: Final = (
    "ISIG", "ICANON", "ECHO", "ECHOE", "ECHOK", "ECHONL", "NOFLSH", "TOSTOP", "IEXTEN", "ECHOCTL", "ECHOKE",
)  # fmt: skip

_FLAGS: Final[dict[str, tuple[int, int]]] = {
    "IUTF8": (0, IUTF8),
    **{
        name: (word, getattr(termios, name))
        for word, names in ((0, _INPUT), (1, _OUTPUT), (3, _LOCAL))
        for name in names
    },
}
"""Of each flag the word of `termios.tcgetattr` that it is in, and its bit."""

_SWITCHED_OFF: Final = 255
"""A character that is none, on the wire; Linux has NUL for that (_POSIX_VDISABLE)."""


def set_modes(fd: int, modes: Iterable[tuple[str, int]]) -> None:
    """Give the terminal `fd` these modes, and before them input in UTF-8, so that one character is erased as one.

    What is not named stays as the system has it. Raises termios.error.
    """
    attributes = termios.tcgetattr(fd)
    attributes[0] |= IUTF8
    for name, value in modes:
        if name in _FLAGS:
            word, bit = _FLAGS[name]
            attributes[word] = attributes[word] | bit if value else attributes[word] & ~bit
        else:
            attributes[6][getattr(termios, name)] = bytes([0 if value == _SWITCHED_OFF else value])
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
