"""Signals by their Linux numbers (signal(7)), which the wire uses whatever system the client runs on."""

from __future__ import annotations

import signal
import sys
from typing import Final

# fmt: off
_NAMES: Final = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
)
# fmt: on


def linux_number(number: int, platform: str = sys.platform) -> int:
    """Return the Linux number of the local signal `number`. Raises ValueError if Linux does not have the signal."""
    if not _is_number(number):
        raise TypeError(f"the signal is {type(number).__name__}; it must be a number, such as signal.SIGTERM")
    if platform != "linux":
        try:
            number = _NAMES.index(signal.Signals(number).name.removeprefix("SIG")) + 1
        except ValueError:
            raise ValueError(f"the local signal {number} does not exist on Linux") from None
    if not 1 <= number <= 64:
        raise ValueError(f"{number} is not a signal; Linux has signals 1 to 64")
    return int(number)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def signal_name(number: int) -> str:
    """Return the name of a Linux signal, as `SIGKILL` for 9, or `signal 40` if it has none."""
    return f"SIG{_NAMES[number - 1]}" if 1 <= number <= len(_NAMES) else f"signal {number}"


def parse_signal(text: str) -> int:
    """Return the Linux number of a signal as people write it: `TERM`, `sigterm`, `15`. Raises ValueError."""
    name = text.upper().removeprefix("SIG")
    if name in _NAMES:
        return _NAMES.index(name) + 1
    if text.isascii() and text.isdecimal() and 1 <= int(text[:3]) <= 64:
        return int(text[:3])
    raise ValueError(f"{text!r} is not a signal; write a name such as INT, TERM or KILL, or a number from 1 to 64")
