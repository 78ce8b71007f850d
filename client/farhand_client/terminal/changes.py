"""What happens to the local terminal and its job meanwhile: it is resized, it is stopped, it is continued."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from farhand_protocol.messages.terminal import WindowSize

SETTLE: Final = 0.05
"""Seconds in which only the first of many sizes is told, and then the last: while somebody drags the edge of a window
there are a hundred a second, and for each one a program draws everything anew. Twenty look smooth."""


class Shown(Protocol):
    """Who shows something on the terminal."""

    def resized(self, size: WindowSize) -> None:
        """The terminal has this size now."""

    def suspend(self) -> None:
        """The job is to be stopped."""

    def continued(self) -> None:
        """The job was continued; who had the terminal meanwhile may have changed everything."""


class Changes:
    """While entered, tells `shown` of SIGWINCH, SIGTSTP and SIGCONT; `size` says which size there is."""

    def __init__(self, shown: Shown, size: Callable[[], WindowSize]) -> None:
        self._shown = shown
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._told: WindowSize | None = None

    def __enter__(self) -> Self:
        self._told = self._size()
        self._loop.add_signal_handler(signal.SIGWINCH, self.look)
        self._loop.add_signal_handler(signal.SIGTSTP, self._shown.suspend)
        self._loop.add_signal_handler(signal.SIGCONT, self._shown.continued)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
            self._loop.remove_signal_handler(number)
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Tell of a new size, now or once it is time."""
        if self._timer is None:
            self._tell()

    def _tell(self) -> None:
        self._timer = None
        size = self._size()
        if size != self._told:
            self._told = size
            self._timer = self._loop.call_later(SETTLE, self._tell)
            self._shown.resized(size)
