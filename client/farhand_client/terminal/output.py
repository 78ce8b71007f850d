"""Writes to the local terminal at its pace: one that is held, or slow, holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .local import LocalTerminal


class TerminalOutput:
    """Takes one piece at a time; `ready` is called once that is written where it was not so at once, and `gone` where
    the terminal is no more."""

    def __init__(self, terminal: LocalTerminal, ready: Callable[[], None], gone: Callable[[], None]) -> None:
        self._terminal = terminal
        self._ready = ready
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._left = memoryview(b"")

    @property
    def free(self) -> bool:
        """Whether `write` may be called."""
        return not self._left

    def write(self, data: bytes) -> None:
        """Write `data`, as far as the terminal takes it at once; the rest by and by."""
        assert self.free
        self._write(memoryview(data))
        if self._left:
            self._loop.add_writer(self._terminal.fd, self._go_on)

    def drop(self) -> bool:
        """Forget what is not written; return whether there was something."""
        dropped = not self.free
        if dropped:
            self._loop.remove_writer(self._terminal.fd)
            self._left = memoryview(b"")
        return dropped

    def _write(self, data: memoryview) -> None:
        try:
            self._left = data[self._terminal.write(data) :]
        except OSError:
            self._left = memoryview(b"")
            self._gone()

    def _go_on(self) -> None:
        self._write(self._left)
        if not self._left:
            self._loop.remove_writer(self._terminal.fd)
            self._ready()
