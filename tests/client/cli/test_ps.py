"""`farhand ps` lists runs as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from farhand_client import Exited, Signaled
from farhand_protocol import messages as m
from tests.support.command import farhand, json_lines
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


def answering(*runs: m.RunInfo, always: bool = False) -> Any:
    def answer(fake: FakeConnection, channel: int, question: m.AnyMessage) -> None:
        assert isinstance(question, m.List)
        found = [run for run in runs if always or question.ended or run.outcome is None]
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


async def test_own_runs_that_a_program_made_for_itself_are_listed_only_on_request(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        service.answer = answering(info(3, owner="bob", internal=True), info(2, internal=True), info(1))
        listed = json_lines((await farhand("ps", "--json", service.host)).stdout)
        assert [run["run_id"] for run in listed] == [info(3).id, info(1).id], "nobody hides a run from others"
        done = await farhand("ps", "--internal", service.host)
        assert [line.endswith("sleep 9 (internal)") for line in done.stdout.decode().splitlines()[1:]] == [
            True,
            True,
            False,
        ]


async def test_processes_left_running_are_listed_with_their_run(tmp_path: Path) -> None:
    left = m.LeftProcesses(count=2, names=("tmux: server", "bash"), pids=(7, 8))
    async with FakeService().on_socket(tmp_path) as service:
        run = info(2, outcome=Exited(code=0), left_processes=left)
        service.answer = answering(run, always=True)
        done = await farhand("ps", service.host)
        state, processes = done.stdout.decode().splitlines()[1:]
        assert "exited 0, left 2" in state
        assert processes == "  left running: tmux: server, bash (processes 7, 8)"
        done = await farhand("ps", "--json", service.host)
        assert json.loads(done.stdout)["left_processes"] == left.model_dump(mode="json")


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
            "left_processes": None,
            "login": False,
            "tty": None,
            "clients": [],
            "internal": False,
            "transfer": False,
            "forward": False,
        }
        assert finished["outcome"] == {"status": "signaled", "signal": 9}
