"""What signals to this process mean for the run: an interrupt is passed on, an order to end stops the run."""

from __future__ import annotations

import asyncio
import signal
from types import TracebackType
from typing import Self

from farhand_client.run import Run

from .main import say


class Signals:
    """While entered, signals act on the task that entered it, and on `run` once there is one.

    SIGINT goes to the run, over the next connection where this one is lost; a second one abandons the run. SIGTERM and
    SIGHUP cancel the task, and so stop the run.
    `ended_by` is the signal that cancelled the task, or None.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self.ended_by: int | None = None
        self.abandoned = False
        self._interrupted = False
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    def __enter__(self) -> Self:
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt)
        self._loop.add_signal_handler(signal.SIGTERM, self._end, signal.SIGTERM)
        self._loop.add_signal_handler(signal.SIGHUP, self._end, signal.SIGHUP)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if self.run is not None and self.run.result is None:
            if not self._interrupted:
                self._interrupted = True
                if not self.run.connected:
                    say("the line is down; the command is interrupted once it is up. Again to leave now")
                self.run.send_signal(signal.SIGINT)
                return
            kept = "it goes on" if self.run.kept else "the service stops it"
            say(f"abandoned run {self.run.id}; {kept}")
            self.abandoned = True
            self.run.abandon()
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        self.ended_by = self.ended_by or number
        self._task.cancel()
