"""What signals to this process mean for the run: an interrupt is passed on, an order to end stops the run."""

from __future__ import annotations

import signal
from typing import Final

from farhand_client.run import Run

from .interrupts import Interrupts
from .main import say

PARTING: Final = 0.5
"""Seconds in which the service may hear that we leave: it may be stopped, or cut off, and we do not wait for it."""


class Signals(Interrupts):
    """While entered, signals act on the task that entered it, and on `run` once there is one.

    SIGINT goes to the run, over the next connection where this one is lost; a second one abandons the run. SIGTERM and
    SIGHUP cancel the task, and so stop the run.
    """

    def __init__(self) -> None:
        super().__init__(self._pass_on)
        self.run: Run | None = None
        self.abandoned = False
        self._passed_on = False

    def _pass_on(self) -> None:
        if self.run is not None and self.run.result is None:
            if not self._passed_on:
                self._passed_on = True
                if not self.run.connected:
                    say("the line is down; the command is interrupted once it is up. Again to leave now")
                self.run.send_signal(signal.SIGINT)
                return
            kept = "it goes on" if self.run.kept else "the service stops it"
            say(f"abandoned run {self.run.id}; {kept}")
            self.abandoned = True
            self.run.abandon()
        self.end()


class Departures(Signals):
    """While entered, for a run on the terminal in front of the user: what ends this process leaves the run going, for
    the user to come back to. A signal of `stops` stops it, as without a terminal.

    Ctrl-C is a key then, which never comes here; SIGINT is from somebody else.
    """

    def __init__(self, stops: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.left = False
        """Whether the run was left going."""
        self._stops = stops

    def _pass_on(self) -> None:
        self.end()

    def end(self, number: int = signal.SIGINT) -> None:
        """Interrupts."""
        if self.run is not None and number not in self._stops:
            self.left = True
            self.run.detach()
        super().end(number)
        if self.run is None:
            # Again: it is not known whether there is a run, and its end would be waited for as long as it takes.
            self._loop.call_later(PARTING, self._task.cancel)
