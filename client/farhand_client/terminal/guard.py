"""A child process that restores the terminal if this process is killed: the shell's next prompt would be unusable."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

from .modes import TermiosAttributes, stty_argument

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
"""For sh(1). Its stdin is a pipe from us that ends when we do; descriptor 3 is the terminal. Whoever started us may
have noticed first and set modes of its own: the modes are only restored if output is still raw, as we left it."""

_SHELL: Final = "/bin/sh"
"""Where POSIX systems have it. Starting an idle shell costs a millisecond and 100 KiB; a fork of this process would be
forty times as large and hold its connections open."""

_BLOCKED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
"""Signals that a terminal sends to its users; SIGTTOU would stop a background process that sets modes."""


class TerminalGuard:
    """The child process. If it cannot be started, everything else works, only without this protection."""

    def __init__(self, terminal: int) -> None:
        """Start the child for the terminal open as descriptor `terminal`."""
        self._pipe = -1
        self._pid: int | None = None
        reading, writing = os.pipe()
        try:
            os.set_blocking(writing, False)  # a guard that is stopped must not block us
            self._pid = os.posix_spawn(
                _SHELL,
                [_SHELL, "-c", _SCRIPT, "farhand-guard"],
                {**os.environ, "LC_ALL": "C"},  # the script parses stty's output
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

    def set_modes(self, attributes: TermiosAttributes) -> None:
        """Set the modes to restore."""
        self._send(f"state {stty_argument(attributes)}")

    def set_undo_sequence(self, sequence: bytes) -> None:
        """Set the sequence to write to the terminal."""
        self._send("undo " + "".join(f"\\0{byte:03o}" for byte in sequence))

    def close(self) -> None:
        """End the child without restoring anything. Idempotent."""
        if self._pid is not None:
            # SIGKILL also ends a stopped child, so waiting for it cannot block.
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            os.close(self._pipe)
            self._pid = None

    def _send(self, line: str) -> None:
        if self._pid is not None:
            with contextlib.suppress(OSError):  # the child was ended by someone, or is stopped
                os.write(self._pipe, line.encode() + b"\n")
