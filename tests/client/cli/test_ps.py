"""`farhand ps` lists runs as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from farhand_client import Exited, Signaled
from farhand_protocol import messages as m
from tests.support.command import farhand
from tests.support.fake_service import FakeConnection, FakeService

NOW = 1_800_000_000.0


def info(number: int = 1, **fields: Any) -> m.RunInfo:
    given = {
        "id": f"01890a5d-ac{number:02x}-774b-bcce-b302099a8057",
        "owner": "ann",
        "command": "sleep 9",
        "began": NOW - 90,
        "duration": 90.0,
        "stdout": 0,
        "stderr": 0,
    }
    return m.RunInfo.model_validate(given | fields)


def answering(*runs: m.RunInfo) -> Any:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        assert isinstance(question, m.List)
        found = [run for run in runs if question.ended or run.outcome is None]
        if found:
            fake.send(m.Runs(runs=tuple(found)), channel)
        fake.send(m.Done(), channel)

    return answer


async def test_all_requests_ended_runs_too(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        service.answer = answering(info(2), info(1, outcome=Exited(code=0)))
        done = await farhand("ps", service.host)
        assert (done.code, done.stderr, done.stdout.count(b"\n")) == (0, b"", 2)
        done = await farhand("ps", "-a", service.host)
        assert (done.code, done.stdout.count(b"\n")) == (0, 3)


async def test_json_prints_one_object_per_line(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        service.answer = answering(info(2, stdin=4, command="a\nb"), info(1, outcome=Signaled(signal=9)))
        done = await farhand("ps", "--all", "--json", service.host)
        assert (done.code, done.stderr) == (0, b"")
        running, finished = map(json.loads, done.stdout.splitlines())
        assert running == {
            "run_id": info(2).id,
            "owner": "ann",
            "command": "a\nb",
            "began": NOW - 90,
            "duration": 90.0,
            "stdout": 0,
            "stderr": 0,
            "stdin": 4,
            "pid": None,
            "attachments": 0,
            "on_disconnect": "kill",
            "outcome": None,
            "terminal": None,
        }
        assert finished["outcome"] == {"status": "signaled", "signal": 9}
