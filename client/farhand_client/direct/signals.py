"""Collects signals for a loop that polls: each makes a descriptor readable, and says nothing else."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed lacks it; signal looks up an enum in each call
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self


class CollectedSignals:
    """While entered, SIGINT, SIGTERM and SIGHUP only make `fd` readable, and `take` returns their numbers.

    SIGINT and SIGHUP do nothing if this process was started with them ignored, as by nohup(1) and a script's `&`.
    """

    def __init__(self) -> None:
        self.fd = -1
        self._writing = -1
        self._before: dict[int, Any] = {}
        self._wakeup = -1
        self._kept = False

    def __enter__(self) -> Self:
        self.fd, self._writing = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._writing, False)
        self._wakeup = _signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
            before = _signal.getsignal(number)
            if before is not _signal.SIG_IGN or number == _signal.SIGTERM:
                self._before[number] = before
                _signal.signal(number, _collect)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._kept:
            self.restore()

    def keep(self) -> None:
        """Go on to collect signals after the context, until `release`."""
        self._kept = True

    def take(self) -> list[int]:
        """Return the signals that have arrived since the last call, in their order."""
        try:
            return [number for number in os.read(self.fd, 256) if number in self._before]
        except BlockingIOError:
            return []

    def restore(self) -> None:
        """Let signals act as before. What has arrived and was not taken acts now."""
        if self.fd >= 0:
            _signal.set_wakeup_fd(self._wakeup)
            for number, before in self._before.items():
                _signal.signal(number, before)
            for number in self._close():
                os.kill(os.getpid(), number)

    def release(self) -> list[int]:
        """Leave the signals to whoever handles them now; return what has arrived and was not taken."""
        return self._close() if self.fd >= 0 else []

    def _close(self) -> list[int]:
        arrived = self.take()
        os.close(self.fd)
        os.close(self._writing)
        self.fd = self._writing = -1
        return arrived


def _collect(number: int, frame: object) -> None:
    """Do nothing: the descriptor says it."""
