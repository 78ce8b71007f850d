"""The modes (termios) of the local terminal: on the wire, in raw mode, and as stty(1) reads them."""

from __future__ import annotations

import os
import sys
import termios
from typing import Any, Final, TypeAlias, get_args

from farhand_protocol.messages.terminal import ModeName

TermiosAttributes: TypeAlias = list[Any]
"""What `termios.tcgetattr` returns."""

_WIRE_DISABLED: Final = 255
"""The value on the wire for a special character that is disabled; termios(3) has `_POSIX_VDISABLE`, which differs
between systems."""

_IUTF8: Final = 0x4000
"""The value on Linux and macOS; Python has no name for it."""

_INPUT: Final = frozenset(
    {
        *("IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL"),
        *("IXON", "IXANY", "IXOFF", "IMAXBEL", "IUTF8"),
    }
)
_OUTPUT: Final = frozenset({"OPOST", "ONLCR", "OCRNL", "ONOCR", "ONLRET"})

_STTY_NAMES: Final = (
    *("VDISCARD", "VDSUSP", "VEOF", "VEOL", "VEOL2", "VERASE", "VINTR", "VKILL", "VLNEXT", "VMIN", "VQUIT"),
    *("VREPRINT", "VSTART", "VSTATUS", "VSTOP", "VSUSP", "VTIME", "VWERASE"),
)
"""The special characters that BSD's stty names, in its order."""


def wire_modes(attributes: TermiosAttributes, disabled: int) -> tuple[tuple[ModeName, int], ...]:
    """Return the modes of the wire that this system knows; `disabled` is the system's `_POSIX_VDISABLE`."""
    modes: list[tuple[ModeName, int]] = []
    for name in get_args(ModeName):
        number = _IUTF8 if name == "IUTF8" else getattr(termios, name, None)
        if number is None:
            continue
        if name.startswith("V"):
            code = _code(attributes[6][number])
            modes.append((name, _WIRE_DISABLED if code == disabled else code))
        else:
            flags = attributes[0 if name in _INPUT else 1 if name in _OUTPUT else 3]
            modes.append((name, int(flags & number != 0)))
    return tuple(modes)


def disabled_character(fd: int) -> int:
    """Return the `_POSIX_VDISABLE` of the terminal `fd`: 0 on Linux, 255 on macOS."""
    return os.fpathconf(fd, "PC_VDISABLE") & 0xFF


def raw_mode(attributes: TermiosAttributes) -> TermiosAttributes:
    """Return a copy of `attributes` in raw mode: every byte passes unchanged both ways, and each key at once.

    As cfmakeraw(3). The remote terminal edits lines, echoes, turns keys into signals and translates newlines; none of
    that may happen a second time here.
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


def stty_argument(attributes: TermiosAttributes, platform: str = sys.platform) -> str:
    """Return `attributes` in the platform's format of `stty -g`, which stty(1) accepts as an argument."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = attributes
    codes = [_code(character) for character in characters]
    if platform != "darwin":
        return ":".join(f"{number:x}" for number in (iflag, oflag, cflag, lflag, *codes))
    flags = f"cflag={cflag:x}:iflag={iflag:x}:lflag={lflag:x}:oflag={oflag:x}"
    named = ((name.lower()[1:], getattr(termios, name, None)) for name in _STTY_NAMES)
    values = ":".join(f"{name}={codes[number]:x}" for name, number in named if number is not None)
    return f"gfmt1:{flags}:{values}:ispeed={ispeed}:ospeed={ospeed}"


def _code(character: bytes | int) -> int:
    return character if isinstance(character, int) else character[0]  # without ICANON, VMIN and VTIME are numbers
