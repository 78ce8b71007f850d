"""A signal to a run, by its id: said to be sent once it is, also where the run is only about to start."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Outcome
from farhand_server.runs.plan import RunResult
from farhand_server.runs.run import AnyRun, LiveRun

from .handler import ChannelOutlet, QueryChannel


class DeliverChannel(QueryChannel):
    """Sends the signal and is over; before the run has started it waits for that."""

    def __init__(self, outlet: ChannelOutlet, number: int, run: AnyRun, request: m.Deliver) -> None:
        super().__init__(outlet, number)
        self._run = run
        self._signal = request.number

    def begin(self) -> None:
        """Channel."""
        if isinstance(self._run, LiveRun) and self._run.pid is None and self._run.result is None:
            self._run.attachments.bystanders.append(self)
        else:
            self._deliver()

    def finish(self) -> None:
        """Channel."""
        super().finish()
        if isinstance(self._run, LiveRun) and self in self._run.attachments.bystanders:
            self._run.attachments.bystanders.remove(self)

    def _deliver(self) -> None:
        if isinstance(self._run, LiveRun) and self._run.signal(self._signal):
            self.answer(m.Done())
        else:
            sentence = f"run {self._run.id} has no process left that signal {self._signal} could be sent to"
            self.answer(m.Error(code=ErrorCode.RUN_ENDED, message=sentence))

    # What the run says

    def started(self) -> None:
        """Watcher."""
        self._deliver()

    def ended(self, result: RunResult) -> None:
        """Watcher. It never began."""
        self._deliver()

    def failed(self, code: ErrorCode, sentence: str) -> None:
        """Watcher."""
        self.answer(m.Error(code=code, message=sentence))

    def exited(self, outcome: Outcome) -> None:
        """Watcher."""

    def stdin_taken(self) -> None:
        """Watcher."""

    def replaced(self) -> None:
        """Watcher."""
