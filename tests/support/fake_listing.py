"""The list of runs of a fake service."""

from __future__ import annotations

from typing import Any

from farhand_protocol import messages as m
from tests.support.fake_runs import ID
from tests.support.fake_service import Answer, FakeConnection

PAGE = 100
"""Runs in one message: the client has to read several messages."""


def info(run_id: str = ID, **fields: Any) -> m.RunInfo:
    """Return the information about one run. Its command contains terminal escape sequences."""
    given = {
        "id": run_id,
        "owner": "ann",
        "command": "cat\x1b",
        "began": 1.0,
        "duration": 2.0,
        "stdout": 10,
        "stderr": 3,
    }
    return m.RunInfo.model_validate(given | fields)


def listing(*runs: m.RunInfo) -> Answer:
    """Return a behaviour that lists these runs, newest first, and delivers every signal."""

    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        if isinstance(question, m.List):
            found = [run for run in runs if run.id.startswith(question.prefix)]
            if question.before is not None:
                found = [run for run in found if run.id < (question.before or "")]
            found = found[: question.limit]
            for at in range(0, len(found), PAGE):
                fake.send(m.Runs(runs=tuple(found[at : at + PAGE])), channel)
        else:
            assert isinstance(question, m.Deliver)
        fake.send(m.Done(), channel)

    return answer
