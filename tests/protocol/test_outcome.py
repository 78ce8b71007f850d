"""Outcomes: each is sent and received unchanged, and only with the fields of its status."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from farhand_protocol import messages as m
from farhand_protocol.limits import Limits
from farhand_protocol.outcome import Exited, Killed, Lost, Outcome, Signaled, SpawnFailed, TimedOut

OUTCOMES: list[Outcome] = [
    Exited(code=255),
    Signaled(signal=9),
    TimedOut(timeout=0.5, signal=15),
    TimedOut(timeout=0.5, signal=15, idle=True),
    Killed(reason="spool", signal=9, message="no space left on device"),
    Killed(reason="draining", code=0),
    SpawnFailed(errno=2, error="ENOENT", what="program", message="no such program"),
    Lost(),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.status)
def test_every_outcome_is_received_as_sent(outcome: Outcome) -> None:
    ended = m.Ended(outcome=outcome, stdout=(1 << 63) - 1, stderr=0, duration=0.25)
    assert m.decode(m.encode(ended), Limits()) == ended


@pytest.mark.parametrize(
    "outcome",
    [
        {"status": "exited", "code": 256},
        {"status": "exited", "code": 0, "signal": 9},
        {"status": "signaled", "signal": 0},
        {"status": "signaled", "signal": 65},
        {"status": "timed_out", "signal": 15, "timeout": 0.0},
        {"status": "killed", "signal": 9, "reason": "boredom"},
        {"status": "spawn_failed", "errno": 4096, "error": "E", "what": "program", "message": ""},
        {"status": "lost", "code": 1},
        {"status": "gone"},
    ],
)
def test_any_other_object_is_refused_as_an_outcome(outcome: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Outcome).validate_python(outcome)
