"""What signals to this process do: Ctrl-C is for what runs, SIGTERM and SIGHUP are for the process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self


class Interrupts:
    """While entered, SIGINT calls `target`, or what `to` was given; SIGTERM and SIGHUP cancel the task that entered it.

    `ended_by` is the signal that cancelled the task, or None.
    """

    def __init__(self, target: Callable[[], None] | None = None) -> None:
        self.ended_by: int | None = None
        self._target = target
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    @contextlib.contextmanager
    def to(self, target: Callable[[], None]) -> Iterator[None]:
        """Give SIGINT to `target` in the block."""
        before, self._target = self._target, target
        try:
            yield
        finally:
            self._target = before

    def __enter__(self) -> Self:
        self._loop.add_signal_handler(signal.SIGINT, self._interrupted)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self.end, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._loop.remove_signal_handler(number)

    def _interrupted(self) -> None:
        if self._target is not None:
            self._target()

    def end(self, number: int = signal.SIGINT) -> None:
        """Cancel the task that entered this."""
        self.ended_by = self.ended_by or number
        self._task.cancel()
