"""Recordings of a fake service."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited
from tests.support.fake_listing import listing
from tests.support.fake_service import Answer, Behaviour, FakeConnection, FakeRun


def recorded(info: m.RunInfo, *marks: m.OutputMark) -> Answer:
    """Answer with one run and the times of its output."""
    others = listing(info)

    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        if not isinstance(question, m.RecordingRequest):
            others(fake, channel, question)
            return
        assert question.id == info.id
        fake.send(m.OutputMarks(marks=marks), channel)
        fake.send(m.Done(), channel)

    return answer


def output_of(out: bytes, err: bytes = b"", *, dropped: int = 0, running: bool = False) -> Behaviour:
    """Return the behaviour of a run with this output, which has ended unless `running`.

    The first `dropped` bytes of stdout are no longer kept.
    """

    async def behave(run: FakeRun) -> None:
        run.started()
        if dropped:
            run.send(m.GapNotice(stream="stdout", offset=0, bytes=dropped))
            run.sent["stdout"] = dropped
        await run.write_rest("stdout", out)
        await run.write_rest("stderr", err)
        if running:
            for stream in run.streams:
                run.send(m.End(stream=stream))
            run.send(m.Done())
        else:
            run.ended(Exited(code=3))

    return behave
