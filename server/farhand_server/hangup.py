"""What SIGHUP means: the service's own terminal was closed, or somebody asks for a reload.

A service in the foreground ends with its terminal, as every program there does. A service without a terminal, or one
that was told to outlive it (nohup(1)), reloads. A signal does not say why it was sent (asyncio passes on no siginfo_t),
but when a terminal hangs up, the kernel takes it away from all processes of its session before it sends SIGHUP. A shell
passes the signal on to its jobs within moments; one that comes later is for a service that a shell has left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

HANGUP_TIME: Final = 5.0
"""Seconds after the end of the terminal in which SIGHUP is a consequence of it. A shell needs a few milliseconds, on a
busy machine perhaps a second."""

_VARIABLE: Final = "FARHANDD_TERMINAL"
"""In an upgrade, tells the new program what this one has found at its start: `1` if it ends with its terminal."""


class OwnTerminal:
    """The terminal that the service ends with, if there is one.

    Call `watch` once the event loop runs, and `close`; without an event loop, `open` and `look`.
    """

    def __init__(self, *, ends_service: bool) -> None:
        self._ends_service = ends_service
        self._descriptor = -1
        self._events: select.epoll | None = None
        self._ended: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def at_start(cls, *, resumed: bool, environ: MutableMapping[str, str] = os.environ) -> OwnTerminal:
        """Return the terminal of this process. Call this before any handler is installed.

        With `resumed`, this program has replaced one that has left what it knew in the environment.
        """
        left = environ.pop(_VARIABLE, "")
        if resumed:
            return cls(ends_service=left == "1")
        return cls(ends_service=has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN)

    def environment(self) -> dict[str, str]:
        """Return the variable for a program that replaces this one in its process."""
        return {_VARIABLE: "1" if self._ends_service else "0"}

    def watch(self) -> None:
        """Note when the terminal ends, from now on."""
        descriptor = self.open()
        if descriptor is not None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(descriptor, self.look)

    def open(self) -> int | None:
        """Return a descriptor that becomes readable when `look` has to be called, if there is anything to watch."""
        if not self._ends_service:
            return None
        try:
            self._descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._note_end()  # while the program was replaced
            return None
        # What is typed is not for the service, so it stays unread; edge-triggered, it is reported only once.
        self._events = select.epoll()
        self._events.register(self._descriptor, select.EPOLLIN | select.EPOLLET)
        return self._events.fileno()

    def has_hung_up(self) -> bool:
        """Return whether a SIGHUP that was just received means that the terminal was closed."""
        if not self._ends_service or has_terminal():
            return False
        self._note_end()
        assert self._ended is not None
        return time.monotonic() - self._ended < HANGUP_TIME

    def close(self) -> None:
        """Stop watching. Repeated calls do nothing."""
        if self._events is not None:
            if self._loop is not None:
                self._loop.remove_reader(self._events.fileno())
            self._events.close()
            self._events = None
            with contextlib.suppress(OSError):
                os.close(self._descriptor)

    def look(self) -> None:
        """Note whether the terminal has ended."""
        if self._events is not None:
            self._events.poll(0)
        if not has_terminal():
            self._note_end()

    def _note_end(self) -> None:
        self.close()
        if self._ended is None:
            self._ended = time.monotonic()
            _redirect_closed_output()


def _redirect_closed_output() -> None:
    """Let stdout and stderr lead nowhere if they were the terminal, so that nothing fails because nobody reads them."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal (`tty_nr`, proc_pid_stat(5))."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[4] != "0"
