"""An attachment to a run of which only the record is left: its output is a gap, and its outcome follows at once."""

from __future__ import annotations

from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Lost
from farhand_server.runs.attachments.attachments import BadOffset
from farhand_server.runs.past import PastRun
from farhand_server.runs.run import check_offsets

from .attach import RunHasNoTerminal, ended_message, wanted_output
from .handler import ChannelOutlet, QueryChannel


class PastRunChannel(QueryChannel):
    """Answers an attachment to a `PastRun`. Raises `BadOffset` and `RunHasNoTerminal`."""

    def __init__(self, outlet: ChannelOutlet, number: int, run: PastRun, request: m.RunRequest | m.Attach) -> None:
        super().__init__(outlet, number)
        self.run: Final = run
        self._wanted = wanted_output(request)
        if isinstance(request, m.RunRequest):
            self._shows_terminal, stdin = request.terminal is not None, 0
        else:
            self._shows_terminal, stdin = request.size is not None, request.stdin or 0
            if self._shows_terminal and not run.has_terminal:
                raise RunHasNoTerminal(f"run {run.id} has no terminal; attach to it without a size")
        # Of a lost run the record is not exact: a client that is ahead of it learns of the loss.
        if not isinstance(run.result.outcome, Lost):
            check_offsets(run, self._wanted)
            if stdin:
                raise BadOffset(f"stdin of run {run.id} has ended; it cannot continue at {stdin}")

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
        # What never ran has no streams to end.
        for stream, offset in self._wanted.items() if self.run.pid is not None else ():
            missing = self.run.spool(stream).end - offset
            if missing > 0:
                self._outlet.connection.send(self.number, m.GapNotice(stream=stream, offset=offset, bytes=missing))
            self._outlet.connection.send(self.number, m.End(stream=stream))
        self.answer(ended_message(self.run.result))
        return False

    def received(self, message: m.AnyMessage) -> None:
        if isinstance(message, m.Close):
            self.answer(m.Done())

    def received_data(self, data: bytes) -> None:
        """Give credit back for stdin, which nobody reads any more."""
        if self.run.pid is not None:
            self._outlet.connection.acknowledge(self.number, "stdin", len(data))
            self._outlet.flush_soon()

    def failed(self, code: ErrorCode, sentence: str) -> None:
        """End the channel with an error."""
        self.answer(m.Error(code=code, message=sentence))
