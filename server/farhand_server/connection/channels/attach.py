"""What attachments to live and past runs have in common, and the handler of attachments to past runs.

Only the record of a past run is left, so the client receives a gap instead of its output, then its outcome.
"""

from __future__ import annotations

from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.left import LeftProcesses
from farhand_protocol.outcome import Lost
from farhand_server.runs.attachments.attachments import BadOffset, Output
from farhand_server.runs.left import LeftRuns
from farhand_server.runs.past import PastRun
from farhand_server.runs.plan import RunResult
from farhand_server.runs.run import check_offsets

from .handler import ChannelOutlet, QueryChannel


class RunHasNoTerminal(Exception):
    """An attachment has a terminal size, but the run has no terminal."""


def wanted_output(request: m.RunRequest | m.Attach) -> dict[Output, int]:
    """Return, for each stream that the client wants, the offset from which it wants output."""
    if isinstance(request, m.RunRequest):
        return {"stdout": 0} if request.merge_stderr else {"stdout": 0, "stderr": 0}
    offsets: dict[Output, int | None] = {"stdout": request.stdout, "stderr": request.stderr}
    return {stream: offset for stream, offset in offsets.items() if offset is not None}


def ended_message(result: RunResult, left: LeftProcesses | None) -> m.Ended:
    """Return the final message of a run's channel. `left` are the processes that the run has left behind."""
    usage = result.usage
    return m.Ended(
        outcome=result.outcome,
        stdout=result.stdout,
        stderr=result.stderr,
        duration=result.duration,
        lingered=result.lingered,
        usage=None
        if usage is None
        else m.UsageReport(user=usage.user, system=usage.system, peak_memory=usage.peak_memory),
        applied=m.AppliedBounds.model_validate(dict(result.applied)) if result.applied else None,
        left_processes=left,
    )


class PastRunChannel(QueryChannel):
    """Answers an attachment to a `PastRun`. The constructor raises `BadOffset` and `RunHasNoTerminal`.

    `left` knows the processes that runs have left running: the answer names those that are alive now.
    """

    def __init__(
        self, outlet: ChannelOutlet, number: int, run: PastRun, request: m.RunRequest | m.Attach, left: LeftRuns
    ) -> None:
        super().__init__(outlet, number)
        self.run: Final = run
        self._left = left
        self._wanted = wanted_output(request)
        if isinstance(request, m.RunRequest):
            self._shows_terminal, stdin = request.terminal is not None, 0
        else:
            self._shows_terminal, stdin = request.size is not None, request.stdin or 0
            if self._shows_terminal and not run.has_terminal:
                raise RunHasNoTerminal(f"run {run.id} has no terminal; attach to it without a size")
        # A lost run's record is not exact, so the client may be ahead of it. It must still learn that the run is lost.
        if not isinstance(run.result.outcome, Lost):
            check_offsets(run, self._wanted)
            if stdin:
                raise BadOffset(f"stdin of run {run.id} has ended and cannot continue at {stdin}")

    def begin(self) -> None:
        if self.run.pid is not None:
            connection = self._outlet.connection
            connection.send(self.number, m.Started(pid=self.run.pid, new=False, stdin=False))
            if self._shows_terminal:
                connection.send(self.number, m.Resize(columns=0, rows=0))
            self._outlet.flush_soon()
        self._outlet.schedule(self)

    def send_some(self) -> bool:
        if self._over:
            return False
        # A run that never started has no streams to end.
        for stream, offset in self._wanted.items() if self.run.pid is not None else ():
            missing = self.run.spool(stream).end - offset
            if missing > 0:
                self._outlet.connection.send(self.number, m.GapNotice(stream=stream, offset=offset, bytes=missing))
            self._outlet.connection.send(self.number, m.End(stream=stream))
        result = self.run.result
        left = self._left.describe(self.run.id, result.left_processes)
        self.answer(ended_message(result, left))
        return False

    def received(self, message: m.AnyMessage) -> None:
        if isinstance(message, m.Close):
            self.answer(m.Done())

    def received_data(self, data: bytes) -> None:
        """Return credit for stdin that the client sent before it knew that nobody reads it."""
        if self.run.pid is not None:
            self._outlet.connection.acknowledge(self.number, "stdin", len(data))
            self._outlet.flush_soon()

    def failed(self, code: ErrorCode, sentence: str) -> None:
        """End the channel with an error."""
        self.answer(m.Error(code=code, message=sentence))
