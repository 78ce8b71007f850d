"""Exit codes, and the status that says what they cannot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from farhand_client import (
    AddressError,
    ConnectionLost,
    Exited,
    Killed,
    Lost,
    OutputIncomplete,
    RequestRefused,
    Result,
    Signaled,
    SpawnError,
    SpawnFailed,
    TimedOut,
)
from farhand_client.cli.status import StatusError, error_report, open_status_file, result_report
from farhand_client.ui.exitcodes import error_exit_code, outcome_exit_code
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode


def missing(error: str, errno: int, what: Any) -> SpawnFailed:
    return SpawnFailed(errno=errno, error=error, what=what, message="no")


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Exited(code=0), 0),
        (Exited(code=1), 1),
        (Exited(code=255), 255),
        (Signaled(signal=2), 130),
        (Signaled(signal=9), 137),
        (Signaled(signal=64), 192),
        (TimedOut(timeout=1, code=0), 124),
        (TimedOut(timeout=1, signal=9), 124),
        (Killed(reason="requested", signal=9), 137),
        (Killed(reason="draining", code=7), 7),
        (Killed(reason="disconnected", code=0), 143),
        (missing("ENOENT", 2, "program"), 127),
        (missing("EACCES", 13, "program"), 126),
        (missing("ENOEXEC", 8, "program"), 126),
        (missing("ENOENT", 2, "directory"), 126),
        (missing("EAGAIN", 11, "process"), 126),
        (Lost(), 255),
    ],
)
def test_exit_codes(outcome: Any, code: int) -> None:
    assert outcome_exit_code(outcome) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpawnError(missing("ENOENT", 2, "program"), run_id="x"), 127),
        (ConnectionLost("gone", run_id="x"), 255),
        (RequestRefused(ErrorCode.DENIED, "no"), 255),
        (RequestRefused(ErrorCode.BAD_PATTERN, "no"), 2),
        (AddressError("no"), 2),
    ],
)
def test_exit_codes_of_errors(error: Any, code: int) -> None:
    assert error_exit_code(error) == code


def test_the_status_of_a_result_is_its_outcome_and_more() -> None:
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
        "usage": {"user": 0.5, "system": 0.25, "peak_memory": 4096},
        "applied": {"memory": "cgroup"},
        "new": True,
    }
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
def test_the_status_of_an_error_says_what_is_known(error: Any, status: Any) -> None:
    assert error_report(error) == status


def test_a_status_file_has_the_old_or_the_new_whole(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_text("old")
    status = open_status_file(str(path))
    assert path.read_text() == "old"
    status.write({"status": "exited"})
    assert json.loads(path.read_text()) == {"status": "exited"}
    status.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_a_status_that_is_never_written_leaves_nothing(tmp_path: Path) -> None:
    open_status_file(str(tmp_path / "status.json")).close()
    assert list(tmp_path.iterdir()) == []


def test_a_status_can_go_into_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        open_status_file(f"/dev/fd/{writing}").write({"status": "exited"})
        assert json.loads(os.read(reading, 100)) == {"status": "exited"}
    finally:
        os.close(reading)
        os.close(writing)


def test_where_no_status_can_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match=r"cannot write the status to .*/none/x: No such file"):
        open_status_file(str(tmp_path / "none/x"))
