"""Sends the pings that tell when a predicted echo must have arrived, and how long a round trip takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from farhand_client.errors import ConnectionLost

from .predicted_echo import EchoProbe, PredictedEcho

MAX_PROBES: Final = 12
"""Pings that may be unanswered: fewer than what the service keeps answers for (16). While somebody types there is one
every 50 ms, and on a connection with a round trip beyond 600 ms, 12 in each round trip."""


class EchoProbes:
    """Sends the probes that `echo` needs by `ping`, which returns the seconds until the service has answered.

    `answered` is called after each answer. Call `schedule` whenever something was typed.
    """

    def __init__(self, echo: PredictedEcho, ping: Callable[[], Awaitable[float]], answered: Callable[[], None]) -> None:
        self._echo = echo
        self._ping = ping
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Task[None]] = []
        """In the order in which they were sent and are answered."""

    def schedule(self) -> None:
        """Send the next probe when it is due."""
        if self._timer is None and len(self._waiting) < MAX_PROBES:
            now = self._loop.time()
            due = self._echo.probe_due(now, measuring=bool(self._waiting))
            if due is not None and due <= now:
                self._send()
            elif due is not None:
                self._timer = self._loop.call_at(due, self._send)

    def close(self) -> None:
        """Send no more probes and wait for no answer."""
        if self._timer is not None:
            self._timer.cancel()
        for each in self._waiting:
            each.remove_done_callback(self._done)
            each.cancel()

    def _send(self) -> None:
        self._timer = None
        task = asyncio.ensure_future(self._probe(self._echo.probe(self._loop.time())))
        self._waiting.append(task)
        task.add_done_callback(self._done)
        self.schedule()

    def _done(self, task: asyncio.Task[None]) -> None:
        at = self._waiting.index(task)
        for earlier in self._waiting[:at]:
            earlier.cancel()  # its answer was dropped
        del self._waiting[at]
        self.schedule()

    async def _probe(self, probe: EchoProbe) -> None:
        round_trip: float | None = None
        with contextlib.suppress(ConnectionLost):  # for good; the run reports it
            round_trip = await self._ping()
        self._echo.answered(probe, round_trip)
        self._answered()
