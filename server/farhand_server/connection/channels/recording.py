"""Tells when each part of a run's output arrived. Each message is built once the previous one has been sent."""

from __future__ import annotations

from itertools import islice

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.messages.codec import pack_marks
from farhand_server.runs.output.timeline import Moment, TimelinePosition
from farhand_server.runs.run import AnyRun, LiveRun

from .handler import MAX_ANSWER_SIZE, ChannelOutlet, QueryChannel


class RecordingChannel(QueryChannel):
    """Answers a `recording` with the marks recorded so far. Between two messages it keeps only its position."""

    def __init__(self, outlet: ChannelOutlet, number: int, run: AnyRun) -> None:
        super().__init__(outlet, number)
        self._run_id = run.id
        self._timeline = run.timeline if isinstance(run, LiveRun) else None
        self._place = TimelinePosition()
        self._until = 0 if self._timeline is None else self._timeline.now

    def begin(self) -> None:
        self._outlet.schedule(self)

    def send_some(self) -> bool:
        if self._over:
            return False
        timeline = self._timeline
        if timeline is None or timeline.gone:
            sentence = f"the output of run {self._run_id} is no longer kept, and neither are its times"
            self.answer(m.Error(code=ErrorCode.EXPIRED, message=sentence))
            return False
        page = list(islice(timeline.moments(self._place, self._until), m.MAX_MARKS))
        told = self._tell([moment for moment, _ in page])
        if told:
            self._place = page[told - 1][1]
        if told == len(page) < m.MAX_MARKS:
            self.answer(m.Done())
            return False
        return True

    def _tell(self, moments: list[Moment]) -> int:
        """Send as many of the moments as fit into one message, and return their number."""
        connection = self._outlet.connection
        assert connection.peer_limits is not None
        for message in pack_marks(map(_mark, moments), min(connection.peer_limits.message, MAX_ANSWER_SIZE)):
            connection.send(self.number, message)
            return len(message.marks)
        return 0


def _mark(moment: Moment) -> m.OutputMark:
    columns, rows = moment.size or (0, 0)
    return m.OutputMark(
        at=moment.at,
        stdout=moment.stdout,
        stderr=moment.stderr,
        size=m.WindowSize(columns=columns, rows=rows) if moment.size is not None else None,
        stdin=moment.stdin,
        cut=moment.cut or None,
    )
