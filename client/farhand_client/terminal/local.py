"""The terminal in front of the user: raw while a run's is shown on it, and as it was on every way out."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from farhand_client.errors import FarhandError
from farhand_protocol.messages.terminal import ModeName, WindowSize

from .guard import Guard
from .modes import Attributes, disabled_character, raw, wire_modes

FALLBACK: Final = WindowSize(columns=80, rows=24)
"""Where a terminal does not know its size, as on a serial line: that of the VT100, which programs assume as well."""

LAST_WORD: Final = 0.2
"""Seconds for what is to be said last to a terminal that takes nothing: it may be held for ever, and we want to go."""

_OF_SESSION: Final = "/dev/tty"
"""The controlling terminal, whoever owns it (tty(4))."""

_FLAGS: Final = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC


class NoTerminal(FarhandError):
    """There is no terminal, or it cannot be used."""


class LocalTerminal:
    """A context manager; leaving it, also by an error or a cancellation, puts the terminal back as it was.

    In `raw` every key comes at once and as it is, and output passes as it is. A process that is killed there leaves it
    to a guard to put the terminal back.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Use the terminal that is open as `descriptor`; without one that of stdin, of stdout, or of the session
        (/dev/tty). Raises `NoTerminal`."""
        if descriptor is None:
            descriptor = next(filter(os.isatty, (0, 1)), None)
        elif not os.isatty(descriptor):
            raise NoTerminal(f"file descriptor {descriptor} is no terminal")
        self._shared = False
        try:
            self.fd: Final = os.open(_OF_SESSION, _FLAGS) if descriptor is None else self._open(descriptor)
            """Reads keys and writes output, without ever waiting."""
        except OSError as error:
            raise NoTerminal(f"there is no terminal: {error.strerror}") from None
        self._before = self._attributes()
        self._guard: Guard | None = None
        self._raw = False
        self._undo = b""

    @property
    def size(self) -> WindowSize:
        """How many characters it shows now."""
        try:
            columns, rows = os.get_terminal_size(self.fd)
        except OSError:
            return FALLBACK
        return WindowSize(columns=columns, rows=rows) if columns and rows else FALLBACK

    @property
    def modes(self) -> tuple[tuple[ModeName, int], ...]:
        """Its modes outside of `raw`, in the words of the wire."""
        return wire_modes(self._before, disabled_character(self.fd))

    @contextlib.contextmanager
    def raw(self) -> Iterator[None]:
        """Let everything pass as it is in the block. Raises `NoTerminal`."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def undo(self, sequence: bytes) -> None:
        """Have `sequence` written when `raw` is left, on whatever way: what programs set in the terminal stays set."""
        if sequence != self._undo:
            self._undo = sequence
            if self._guard is not None:
                self._guard.undo(sequence)

    def read(self, limit: int) -> bytes | None:
        """Return keys, at most `limit` bytes; None where there are none, b"" where the terminal is gone."""
        try:
            return os.read(self.fd, limit)
        except BlockingIOError:
            return None
        except OSError:  # EIO: hung up
            return b""

    def write(self, data: bytes | memoryview) -> int:
        """Write as many bytes as it takes now; return how many. Raises OSError where the terminal is gone."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    def stop(self) -> None:
        """Leave `raw`, stop this job as Ctrl-Z does, and enter `raw` again once it is continued.

        Where nobody could continue it (its process group is orphaned), the system does not stop it (setpgid(2)).
        """
        self._leave()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(0, signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)
        signal.siginterrupt(signal.SIGTSTP, False)  # as asyncio had it
        self._enter()

    def again(self) -> None:
        """Set the modes of `raw` anew: who had the terminal while this process was stopped may have changed them."""
        if self._raw:
            self._set(raw(self._before))

    def close(self) -> None:
        """Put everything back. Safe to call again."""
        if self._raw:
            self._leave()
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._shared:
            self._shared = False
            with contextlib.suppress(OSError):
                os.set_blocking(self.fd, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        os.close(self.fd)

    def _enter(self) -> None:
        self._before = self._attributes()
        if self._guard is None:
            self._guard = Guard(self.fd)
        self._guard.state(self._before)
        self._raw = True
        self._set(raw(self._before))

    def _leave(self) -> None:
        undo = self._undo
        self.undo(b"")
        self._write_last(undo)
        self._raw = False
        with contextlib.suppress(NoTerminal):  # hung up: nobody misses it
            self._set(self._before)

    def _write_last(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                count = self.write(left)
            except OSError:
                return
            left = left[count:]
            if left and not select.select([], [self.fd], [], LAST_WORD)[1]:
                return

    def _attributes(self) -> Attributes:
        try:
            return termios.tcgetattr(self.fd)
        except termios.error as error:
            raise _unusable(error) from None

    def _set(self, attributes: Attributes) -> None:
        # At once: what was typed ahead stays, and waiting for output to be shown could be for ever.
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        except termios.error as error:
            raise _unusable(error) from None

    def _open(self, descriptor: int) -> int:
        """Open the terminal anew: whoever shares `descriptor`, as the shell that started us, needs it to block."""
        names = []
        with contextlib.suppress(OSError):  # it may have a name in another mount namespace only
            names.append(os.ttyname(descriptor))
        with contextlib.suppress(OSError):  # it need not be our session's
            os.tcgetpgrp(descriptor)
            names.append(_OF_SESSION)
        for name in names:
            with contextlib.suppress(OSError):  # another account's, after su(1)
                return os.open(name, _FLAGS)
        fd = os.dup(descriptor)
        os.set_blocking(fd, False)
        self._shared = True
        return fd


def _unusable(error: termios.error) -> NoTerminal:
    return NoTerminal(f"the terminal cannot be used: {error.args[-1]}")
