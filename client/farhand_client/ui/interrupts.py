"""What SIGINT, SIGTERM and SIGHUP to this process do.

`SignalHandler` passes Ctrl-C to what is shown to the user, and cancels the task on SIGTERM and SIGHUP.
`RunSignalHandler` does so for a run: Ctrl-C interrupts the command, SIGTERM and SIGHUP stop it.
`TerminalSignalHandler` is for a run shown on the user's terminal, which is left running so that the user can return.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from .printing import print_message

if TYPE_CHECKING:
    from farhand_client.handover import Handover
    from farhand_client.run import Run

LEAVE_TIMEOUT: Final = 0.5
"""Seconds allowed to notify the service that the user leaves: it may be suspended or unreachable, and must not delay
the exit."""


class SignalHandler:
    """While entered, SIGINT calls `on_interrupt`; SIGTERM and SIGHUP cancel the task that entered it.

    SIGINT and SIGHUP do nothing if the process was started with them ignored, as by nohup(1) and a script's `&`. ssh(1)
    does the same.

    `ended_by` is the signal that cancelled the task, or None.
    """

    def __init__(self, on_interrupt: Callable[[], None] | None = None) -> None:
        self.ended_by: int | None = None
        self._on_interrupt = on_interrupt
        self._handled: list[signal.Signals] = []
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    @contextlib.contextmanager
    def interrupts_to(self, target: Callable[[], None]) -> Iterator[None]:
        """Call `target` on SIGINT inside the block."""
        before, self._on_interrupt = self._on_interrupt, target
        try:
            yield
        finally:
            self._on_interrupt = before

    def __enter__(self) -> Self:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._handle(signal.SIGINT, self._interrupted)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._handle(signal.SIGHUP, self.end, signal.SIGHUP)
        self._handle(signal.SIGTERM, self.end, signal.SIGTERM)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while self._handled:
            self._loop.remove_signal_handler(self._handled.pop())

    def _handle(self, number: signal.Signals, callback: Callable[..., None], *arguments: int) -> None:
        self._loop.add_signal_handler(number, callback, *arguments)
        self._handled.append(number)

    def _interrupted(self) -> None:
        if self._on_interrupt is not None:
            self._on_interrupt()

    def end(self, number: int = signal.SIGINT) -> None:
        """Cancel the task that entered this, and note the signal `number` as the cause."""
        self.ended_by = self.ended_by or number
        self._task.cancel()


class RunSignalHandler(SignalHandler):
    """Signals act on `run` as soon as it is set, and on the task that entered this.

    SIGINT is sent to the run, after reconnecting if the connection is lost; a second one abandons the run. SIGTERM and
    SIGHUP cancel the task, which stops the run.
    """

    def __init__(self) -> None:
        super().__init__(self._interrupt_run)
        self.run: Run | None = None
        self.abandoned = False
        self._sent = False

    def take_over(self, handover: Handover) -> None:
        """Handle the signals from now on that were handled elsewhere before, and those that arrived meanwhile."""
        self._sent = handover.interrupted
        arrived = handover.release_signals()
        for number in [handover.ended_by, *arrived] if handover.ended_by else arrived:
            os.kill(os.getpid(), number)

    def _interrupt_run(self) -> None:
        if self.run is not None and self.run.result is None:
            if not self._sent:
                self._sent = True
                if not self.run.connected:
                    print_message("not connected; the interrupt will be sent after reconnecting. Ctrl-C again to leave")
                self.run.send_signal(signal.SIGINT)
                return
            kept = "it keeps running" if self.run.kept else "the service stops it"
            print_message(f"abandoned run {self.run.id}; {kept}")
            self.abandoned = True
            self.run.abandon()
        self.end()


class TerminalSignalHandler(RunSignalHandler):
    """For a run on the user's terminal: a signal that ends this process leaves the run running; the user may return.

    The signals in `stops` stop the run instead, as without a terminal. Ctrl-C is a key here and arrives as input;
    SIGINT therefore comes from another process.
    """

    def __init__(self, stops: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.left = False
        """Whether the run was left running."""
        self._stops = stops

    def _interrupt_run(self) -> None:
        self.end()

    def end(self, number: int = signal.SIGINT) -> None:
        """Leave or stop the run, and cancel the task that entered this."""
        if self.run is not None and number not in self._stops:
            self.left = True
            self.run.detach()
        super().end(number)
        if self.run is None:
            # Cancel twice: the run may have started just now, and then the first cancellation waits for its end.
            self._loop.call_later(LEAVE_TIMEOUT, self._task.cancel)
