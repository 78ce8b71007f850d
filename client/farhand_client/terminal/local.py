"""The user's terminal: raw while a run is shown on it, restored on every way out, and written at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import termios
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from farhand_client import job
from farhand_client.errors import FarhandError
from farhand_protocol.messages.terminal import ModeName, WindowSize

from .guard import TerminalGuard
from .modes import TermiosAttributes, disabled_character, raw_mode, wire_modes

FALLBACK_SIZE: Final = WindowSize(columns=80, rows=24)
"""For terminals that do not know their size, such as serial lines: the size of the VT100, which programs assume too."""

FINAL_WRITE_TIMEOUT: Final = 0.2
"""Seconds allowed for the last output if the terminal accepts nothing: it may be stopped (Ctrl-S) for ever."""

_CONTROLLING_TERMINAL: Final = "/dev/tty"
"""Opens the controlling terminal, whichever account owns it (tty(4))."""

_FLAGS: Final = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC


class TerminalUnavailable(FarhandError):
    """There is no terminal, or it cannot be used."""


class LocalTerminal:
    """A context manager for the user's terminal, which is restored on exit, also after an error or a cancellation.

    In `raw` mode every key arrives at once and unchanged, and output passes unchanged. If the process is killed there,
    a guard process restores the terminal.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Use the terminal open as `descriptor`; by default that of stdin, of stdout, or the controlling terminal.

        Raises `TerminalUnavailable`.
        """
        if descriptor is None:
            descriptor = next(filter(os.isatty, (0, 1)), None)
        elif not os.isatty(descriptor):
            raise TerminalUnavailable(f"file descriptor {descriptor} is not a terminal")
        self._shared = False
        try:
            self.fd: Final = os.open(_CONTROLLING_TERMINAL, _FLAGS) if descriptor is None else self._open(descriptor)
            """Non-blocking, for reading keys and writing output."""
        except OSError as error:
            raise TerminalUnavailable(f"no terminal: {error.strerror}") from None
        self._before = self._get_attributes()
        self._guard: TerminalGuard | None = None
        self._is_raw = False
        self._undo = b""

    @property
    def size(self) -> WindowSize:
        """The current size in characters; `FALLBACK_SIZE` if unknown."""
        try:
            columns, rows = os.get_terminal_size(self.fd)
        except OSError:
            return FALLBACK_SIZE
        return WindowSize(columns=columns, rows=rows) if columns and rows else FALLBACK_SIZE

    @property
    def modes(self) -> tuple[tuple[ModeName, int], ...]:
        """The terminal's modes outside of `raw`, as the wire names them."""
        return wire_modes(self._before, disabled_character(self.fd))

    @contextlib.contextmanager
    def raw(self) -> Iterator[None]:
        """Keep the terminal in raw mode in the block. Raises `TerminalUnavailable`."""
        self._enter_raw()
        try:
            yield
        finally:
            self._leave_raw()

    def set_undo_sequence(self, sequence: bytes) -> None:
        """Set what is written when `raw` ends in any way, even by SIGKILL: what programs set in a terminal outlives
        them."""
        if sequence != self._undo:
            self._undo = sequence
            if self._guard is not None:
                self._guard.set_undo_sequence(sequence)

    def read(self, limit: int) -> bytes | None:
        """Return up to `limit` bytes of keys; None if there are none, b"" if the terminal is gone."""
        try:
            return os.read(self.fd, limit) if job.may_read_keys() else None
        except BlockingIOError:
            return None
        except OSError:  # EIO: hung up
            return b""

    def write(self, data: bytes | memoryview) -> int:
        """Write as many bytes as the terminal accepts now; return how many. Raises OSError if the terminal is gone."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    def suspend(self) -> None:
        """Leave `raw`, stop this job as Ctrl-Z does, and enter `raw` again once the job is continued.

        If nobody could continue it (its process group is orphaned), the system does not stop it (setpgid(2)).
        """
        self._leave_raw()
        job.suspend()
        self._enter_raw()

    def restore_raw(self) -> None:
        """Set the modes of `raw` again: other users of the terminal may have changed them while this process was
        stopped."""
        if self._is_raw:
            self._set_attributes(raw_mode(self._before))

    def close(self) -> None:
        """Restore everything. Idempotent."""
        if self._is_raw:
            self._leave_raw()
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

    def _enter_raw(self) -> None:
        self._before = self._get_attributes()
        if self._guard is None:
            self._guard = TerminalGuard(self.fd)
        self._guard.set_modes(self._before)
        self._is_raw = True
        self._set_attributes(raw_mode(self._before))

    def _leave_raw(self) -> None:
        undo = self._undo
        self.set_undo_sequence(b"")
        self._write_last(undo)
        self._is_raw = False
        with contextlib.suppress(TerminalUnavailable):  # hung up: nothing to restore
            self._set_attributes(self._before)

    def _write_last(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                count = self.write(left)
            except OSError:
                return
            left = left[count:]
            if left and not select.select([], [self.fd], [], FINAL_WRITE_TIMEOUT)[1]:
                return

    def _get_attributes(self) -> TermiosAttributes:
        try:
            return termios.tcgetattr(self.fd)
        except termios.error as error:
            raise _unusable(error) from None

    def _set_attributes(self, attributes: TermiosAttributes) -> None:
        # TCSANOW: typeahead is kept, and waiting for output to drain could take forever.
        try:
            if job.may_set_modes():
                termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        except (termios.error, OSError) as error:
            raise _unusable(error) from None

    def _open(self, descriptor: int) -> int:
        """Open the terminal of `descriptor` separately: others that share the descriptor, such as the shell that
        started us, need it to block."""
        names = []
        with contextlib.suppress(OSError):  # its name may exist in another mount namespace only
            names.append(os.ttyname(descriptor))
        with contextlib.suppress(OSError):  # it may not be our controlling terminal
            os.tcgetpgrp(descriptor)
            names.append(_CONTROLLING_TERMINAL)
        for name in names:
            with contextlib.suppress(OSError):  # it belongs to another account, after su(1)
                return os.open(name, _FLAGS)
        fd = os.dup(descriptor)
        os.set_blocking(fd, False)
        self._shared = True
        return fd


class TerminalOutput:
    """Writes to the local terminal at its pace, so that a slow or stopped (Ctrl-S) terminal blocks nothing else.

    One `write` at a time: while `idle` is False, wait for `ready`, which is called once everything is written that
    could not be written at once. `gone` is called if the terminal is gone.
    """

    def __init__(self, terminal: LocalTerminal, ready: Callable[[], None], gone: Callable[[], None]) -> None:
        self._terminal = terminal
        self._ready = ready
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._left = memoryview(b"")

    @property
    def idle(self) -> bool:
        """Whether `write` may be called."""
        return not self._left

    def write(self, data: bytes) -> None:
        """Write what the terminal accepts at once, and the rest in the background."""
        assert self.idle
        self._write(memoryview(data))
        if self._left:
            self._loop.add_writer(self._terminal.fd, self._continue)

    def discard(self) -> bool:
        """Drop what is not yet written; return whether anything was dropped."""
        discarded = not self.idle
        if discarded:
            self._loop.remove_writer(self._terminal.fd)
            self._left = memoryview(b"")
        return discarded

    def _write(self, data: memoryview) -> None:
        try:
            self._left = data[self._terminal.write(data) :]
        except OSError:
            self._left = memoryview(b"")
            self._gone()

    def _continue(self) -> None:
        self._write(self._left)
        if not self._left:
            self._loop.remove_writer(self._terminal.fd)
            self._ready()


def _unusable(error: termios.error | OSError) -> TerminalUnavailable:
    return TerminalUnavailable(f"cannot use the terminal: {error.args[-1]}")
