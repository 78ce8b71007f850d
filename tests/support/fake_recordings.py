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
        fake.say(m.OutputMarks(marks=marks), channel)
        fake.say(m.Done(), channel)

    return answer


def having_written(out: bytes, err: bytes = b"", *, gone: int = 0, going: bool = False) -> Behaviour:
    """Return the behaviour of a run with this output, still running with `going`.

    The first `gone` bytes of stdout are no longer kept.
    """

    async def behave(run: FakeRun) -> None:
        run.started()
        if gone:
            run.say(m.GapNotice(stream="stdout", offset=0, bytes=gone))
            run.sent["stdout"] = gone
        await run.rest("stdout", out)
        await run.rest("stderr", err)
        if going:
            for stream in run.streams:
                run.say(m.End(stream=stream))
            run.say(m.Done())
        else:
            run.ended(Exited(code=3))

    return behave
