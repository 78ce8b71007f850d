"""Outcomes and errors have the exit codes of shells and timeout(1)."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_client import (
    AddressError,
    ConnectionLost,
    Exited,
    Killed,
    Lost,
    RequestRefused,
    Signaled,
    SpawnError,
    SpawnFailed,
    TimedOut,
)
from farhand_client.ui.exitcodes import error_exit_code, outcome_exit_code
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
def test_each_outcome_has_its_exit_code(outcome: Any, code: int) -> None:
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
def test_each_error_has_its_exit_code(error: Any, code: int) -> None:
    assert error_exit_code(error) == code
