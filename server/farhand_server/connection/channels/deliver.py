"""Sends a signal to a run, named by its id. The answer follows once the signal is sent, even if the run has yet to
start."""

from __future__ import annotations

import asyncio

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_server.runs.plan import RunResult
from farhand_server.runs.process.left import LeftTree
from farhand_server.runs.run import AnyRun, LiveRun

from .handler import ChannelOutlet, QueryChannel


class DeliverChannel(QueryChannel):
    """Sends the signal and answers. If the run has not started yet, it first waits for the start.

    If the run has ended, the signal goes to the processes that it has `left` running. With `kill_after` in the request,
    these are stopped, and the answer waits for their end.
    """

    def __init__(
        self, outlet: ChannelOutlet, number: int, run: AnyRun, request: m.Deliver, left: LeftTree | None
    ) -> None:
        super().__init__(outlet, number)
        self._run = run
        self._signal = request.number
        self._kill_after = request.kill_after
        self._left = left
        self._stopping: asyncio.Future[None] | None = None

    def begin(self) -> None:
        if isinstance(self._run, LiveRun) and self._run.pid is None and self._run.result is None:
            self._run.attachments.bystanders.append(self)
        else:
            self._deliver()

    def finish(self) -> None:
        super().finish()
        if isinstance(self._run, LiveRun) and self in self._run.attachments.bystanders:
            self._run.attachments.bystanders.remove(self)
        if self._stopping is not None:
            self._stopping.remove_done_callback(self._stopped)  # what has begun to stop is stopped nevertheless

    def _deliver(self) -> None:
        if self._left is not None and self._kill_after is not None:
            self._stopping = self._left.stop(self._signal, self._kill_after)
            self._stopping.add_done_callback(self._stopped)
        elif self._send():
            self.answer(m.Done())
        else:
            sentence = f"run {self._run.id} has no process left that could receive signal {self._signal}"
            self.answer(m.Error(code=ErrorCode.RUN_ENDED, message=sentence))

    def _send(self) -> bool:
        if self._left is not None:
            return self._left.signal(self._signal)
        return isinstance(self._run, LiveRun) and self._run.signal(self._signal)

    def _stopped(self, stopping: asyncio.Future[None]) -> None:
        assert self._left is not None
        alive = self._left.describe()
        if alive is None:
            self.answer(m.Done())
        else:
            pids = ", ".join(map(str, alive.pids))
            sentence = f"not all processes could be stopped; these are alive: {pids}"
            self.answer(m.Error(code=ErrorCode.UNAVAILABLE, message=sentence))

    # Watcher

    def started(self) -> None:
        self._deliver()

    def ended(self, result: RunResult) -> None:
        """Refuse the signal, because the run has ended without having started."""
        self._deliver()
