"""The JSON report of a run says what its exit code cannot, and the status file is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from farhand_client import (
    ConnectionLost,
    Exited,
    OutputIncomplete,
    RequestRefused,
    Result,
    SpawnError,
    SpawnFailed,
)
from farhand_client.cli.status import StatusError, error_report, open_status_file, result_report
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode


def missing(error: str, errno: int, what: Any) -> SpawnFailed:
    return SpawnFailed(errno=errno, error=error, what=what, message="no")


def test_the_status_of_a_result_contains_its_outcome() -> None:
    usage = m.UsageReport(user=0.5, system=0.25, peak_memory=4096)
    result = Result(Exited(code=255), "id", 1.5, 10, 20, False, usage, m.AppliedBounds(memory="cgroup"))
    assert result_report(result, new=True) == {
        "status": "exited",
        "code": 255,
        "run_id": "id",
        "duration": 1.5,
        "stdout": 10,
        "stderr": 20,
        "lingered": False,
        "left_processes": None,
        "usage": {"user": 0.5, "system": 0.25, "peak_memory": 4096},
        "applied": {"memory": "cgroup"},
        "new": True,
    }
    left = m.LeftProcesses(count=2, names=("sleep",), stopped=True)
    with_left = result_report(Result(Exited(code=0), "id", 1.5, 0, 0, False, left_processes=left), new=True)
    assert with_left["left_processes"] == {
        "count": 2, "at_least": False, "names": ["sleep"], "pids": [], "stopped": True,
    }  # fmt: skip
    bare = result_report(Result(Exited(code=0), "id", 1.5, 0, 0, False), new=False)
    assert (bare["usage"], bare["applied"], bare["new"]) == (None, {}, False)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (
            ConnectionLost("gone", run_id="id"),
            {
                "status": "failed",
                "error": {"type": "ConnectionLost", "message": "gone"},
                "run_id": "id",
                "may_have_run": True,
            },
        ),
        (
            RequestRefused(ErrorCode.DRAINING, "no"),
            {
                "status": "failed",
                "error": {"type": "RequestRefused", "message": "no", "code": "draining"},
                "run_id": None,
                "may_have_run": False,
            },
        ),
        (
            OutputIncomplete("some", run_id="id", outcome=Exited(code=0)),
            {
                "status": "failed",
                "error": {
                    "type": "OutputIncomplete",
                    "message": "some",
                    "outcome": {"status": "exited", "code": 0},
                },
                "run_id": "id",
                "may_have_run": True,
            },
        ),
        (
            SpawnError(missing("ENOENT", 2, "program"), run_id="id"),
            {
                "status": "spawn_failed",
                "errno": 2,
                "error": "ENOENT",
                "what": "program",
                "message": "no",
                "run_id": "id",
            },
        ),
    ],
)
def test_the_status_of_an_error_says_what_is_known_of_the_run(error: Any, status: Any) -> None:
    assert error_report(error) == status


def test_a_status_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text("old")
    status = open_status_file(str(path))
    assert path.read_text() == "old"
    status.write({"status": "exited"})
    assert json.loads(path.read_text()) == {"status": "exited"}
    status.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_an_unwritten_status_leaves_no_file(tmp_path: Path) -> None:
    open_status_file(str(tmp_path / "status.json")).close()
    assert list(tmp_path.iterdir()) == []


def test_a_status_can_be_written_to_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        open_status_file(f"/dev/fd/{writing}").write({"status": "exited"})
        assert json.loads(os.read(reading, 100)) == {"status": "exited"}
    finally:
        os.close(reading)
        os.close(writing)


def test_an_unwritable_status_file_is_reported_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match=r"cannot write the status to .*/none/x: No such file"):
        open_status_file(str(tmp_path / "none/x"))
