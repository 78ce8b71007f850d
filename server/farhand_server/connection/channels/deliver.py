"""Sends a signal to a run, named by its id. The answer follows once the signal is sent, even if the run has yet to
start."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_server.runs.plan import RunResult
from farhand_server.runs.run import AnyRun, LiveRun

from .handler import ChannelOutlet, QueryChannel


class DeliverChannel(QueryChannel):
    """Sends the signal and answers. If the run has not started yet, it first waits for the start."""

    def __init__(self, outlet: ChannelOutlet, number: int, run: AnyRun, request: m.Deliver) -> None:
        super().__init__(outlet, number)
        self._run = run
        self._signal = request.number

    def begin(self) -> None:
        if isinstance(self._run, LiveRun) and self._run.pid is None and self._run.result is None:
            self._run.attachments.bystanders.append(self)
        else:
            self._deliver()

    def finish(self) -> None:
        super().finish()
        if isinstance(self._run, LiveRun) and self in self._run.attachments.bystanders:
            self._run.attachments.bystanders.remove(self)

    def _deliver(self) -> None:
        if isinstance(self._run, LiveRun) and self._run.signal(self._signal):
            self.answer(m.Done())
        else:
            sentence = f"run {self._run.id} has no process left that could receive signal {self._signal}"
            self.answer(m.Error(code=ErrorCode.RUN_ENDED, message=sentence))

    # Watcher

    def started(self) -> None:
        self._deliver()

    def ended(self, result: RunResult) -> None:
        """Refuse the signal, because the run has ended without having started."""
        self._deliver()
