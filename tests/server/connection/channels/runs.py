"""Runs without processes, whose output and end the test determines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from farhand_protocol.outcome import Exited, Outcome
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.past import PastRun
from farhand_server.runs.plan import Plan, RunResult
from farhand_server.runs.run import LiveRun
from tests.support.client import new_id


def plan(**fields: Any) -> Plan:
    given: dict[str, Any] = {
        "id": new_id(),
        "owner": "ada",
        "uid": 1000,
        "fingerprint": bytes(32),
        "command": "true",
        "argv": (b"true",),
        "cwd": b"/",
        "env": {},
        "stdin": False,
        "merge_stderr": False,
        "timeout": None,
        "idle_timeout": None,
        "kill_after": 1.0,
        "linger": 1.0,
        "keep": False,
        "grace": 60.0,
        "spool": 65536,
    }
    return Plan(**(given | fields))


def run(directory: Path = Path("/nonexistent"), **fields: Any) -> LiveRun:
    return LiveRun(plan(**fields), SpoolMemory(1 << 20), SpoolDirectory(directory))


def past(**fields: Any) -> PastRun:
    given: dict[str, Any] = {
        "id": new_id(),
        "owner": "ada",
        "key": None,
        "fingerprint": bytes(32),
        "command": "true",
        "keep": False,
        "has_terminal": False,
        "began": 0.0,
        "pid": 77,
        "result": RunResult(Exited(code=0), 5, 7, 2.5),
    }
    return PastRun(**(given | fields))


def finish(run: LiveRun, outcome: Outcome | None = None) -> None:
    """End the run and announce its end as recorded."""
    run.stdout.finish()
    run.stderr.finish()
    run.result = RunResult(outcome or Exited(code=0), run.stdout.end, run.stderr.end, 1.0)
    run.announce_end()
