"""Puts the terminal back where this process cannot: it was killed, and the shell's next prompt would be unusable."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from typing import Final

from .modes import Attributes

_SCRIPT: Final = """\
trap '' HUP INT QUIT TERM TSTP TTIN TTOU
undo=
while read -r what value; do
  case $what in
    state) state=$value;;
    undo) undo=$value;;
  esac
done
case $(stty -a <&3) in
  *-opost*) stty "$state" <&3 || stty sane <&3;;
esac
test -z "$undo" || printf %b "$undo" >&3
"""
"""For sh(1). Its stdin is a pipe from us, which ends when we do, and 3 the terminal. Who started us may have noticed
first and have set modes of its own: only the terminal is touched that still lets output pass as it is, as ours does."""

_SHELL: Final = "/bin/sh"
"""Where POSIX systems have it. A process of its own that does nothing costs a millisecond and 100 KiB; a fork of this
one would be forty times as large, and hold its connections."""

_BLOCKED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
"""What a terminal sends to those who use it; the last would stop one that sets modes from the background."""


class Guard:
    """A child that waits for our death. Without one, where none can be started, the terminal is only less safe."""

    def __init__(self, terminal: int) -> None:
        """Start it for the terminal that is open as `terminal`."""
        self._pipe = -1
        self._pid: int | None = None
        reading, writing = os.pipe()
        try:
            os.set_blocking(writing, False)  # a guard that is stopped stops nobody
            self._pid = os.posix_spawn(
                _SHELL,
                [_SHELL, "-c", _SCRIPT, "farhand-guard"],
                {**os.environ, "LC_ALL": "C"},  # what stty says is looked at
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reading, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    (os.POSIX_SPAWN_DUP2, terminal, 3),
                ],
                setpgroup=0,
                setsigmask=_BLOCKED,  # until the trap is set, and in what the shell starts
            )
        except OSError:
            os.close(writing)
        else:
            self._pipe = writing
        finally:
            os.close(reading)

    def state(self, attributes: Attributes) -> None:
        """Say to which modes the terminal is to be put back."""
        self._tell(f"state {stty(attributes)}")

    def undo(self, sequence: bytes) -> None:
        """Say what is to be written to the terminal then."""
        self._tell("undo " + "".join(f"\\0{byte:03o}" for byte in sequence))

    def close(self) -> None:
        """End it, without a trace. Safe to call again."""
        if self._pid is not None:
            # Killed, so that it need not be waited for: whoever stopped it would stop us.
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._pipe)
            self._pid = None

    def _tell(self, line: str) -> None:
        if self._pid is not None:
            with contextlib.suppress(OSError):  # somebody has ended it, or it is stopped
                os.write(self._pipe, line.encode() + b"\n")


def stty(attributes: Attributes, platform: str = sys.platform) -> str:
    """Return `attributes` as stty(1) of the platform takes them: as its option -g prints them."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = attributes
    codes = [one if isinstance(one, int) else one[0] for one in characters]
    if platform != "darwin":
        return ":".join(f"{number:x}" for number in (iflag, oflag, cflag, lflag, *codes))
    flags = f"cflag={cflag:x}:iflag={iflag:x}:lflag={lflag:x}:oflag={oflag:x}"
    named = ((name.lower()[1:], getattr(termios, name, None)) for name in _NAMED)
    values = ":".join(f"{name}={codes[number]:x}" for name, number in named if number is not None)
    return f"gfmt1:{flags}:{values}:ispeed={ispeed}:ospeed={ospeed}"


_NAMED: Final = (
    *("VDISCARD", "VDSUSP", "VEOF", "VEOL", "VEOL2", "VERASE", "VINTR", "VKILL", "VLNEXT", "VMIN", "VQUIT"),
    *("VREPRINT", "VSTART", "VSTATUS", "VSTOP", "VSUSP", "VTIME", "VWERASE"),
)
"""The characters that BSD's stty names, in its order."""
