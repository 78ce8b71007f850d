"""Requests about existing runs: what they may ask for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from farhand_protocol import messages as m
from farhand_protocol.limits import Limits
from tests.support.pairs import RUN_ID


@pytest.mark.parametrize(
    "message",
    [
        m.List(),
        m.List(ended=True, prefix=RUN_ID, before=RUN_ID, limit=1),
        m.Deliver(id=RUN_ID, number=64),
        m.WaitFor(id=RUN_ID, stream="stderr", offset=m.MAX_COUNT, pattern=b"\xff", idle=0.5, timeout=m.MAX_SECONDS),
        m.Matched(reason="pattern", start=0, end=m.MAX_COUNT),
        m.Done(),
        m.StatusRequest(),
        m.ServiceStatus(pid=1, uptime=0.5, runs=0, connections=m.MAX_COUNT, draining=True, faults=("x",) * 16),
        m.ServiceStatus(pid=1, uptime=0.5, runs=0, connections=0, holds=m.LoopHolds(times=1, longest=0.06, total=0.06)),
        m.ServiceStatus(
            pid=1,
            uptime=0,
            runs=0,
            connections=0,
            shares=(m.ShareInfo(user="ada", resource="runs", used=3, limit=640),) * m.MAX_SHARES,
        ),
    ],
    ids=lambda message: message.type,
)
def test_a_request_is_received_as_sent(message: m.AnyMessage) -> None:
    assert m.decode(m.encode(message), Limits()) == message


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (m.List, {"limit": 0}),
        (m.List, {"limit": m.MAX_LISTED + 1}),
        (m.List, {"prefix": "x"}),
        (m.List, {"before": "1"}),
        (m.Deliver, {"id": RUN_ID, "number": 65}),
        (m.WaitFor, {"id": RUN_ID, "idle": 0.0}),
        (m.WaitFor, {"id": RUN_ID, "timeout": m.MAX_SECONDS * 2}),
        (m.WaitFor, {"id": RUN_ID, "pattern": b"x" * (m.MAX_PATTERN + 1)}),
        (m.ServiceStatus, {"pid": 1, "uptime": 0.0, "runs": 0, "connections": 0, "holds": {"longest": -1.0}}),
        (m.ServiceStatus, {"pid": 0, "uptime": 0.0, "runs": 0, "connections": 0}),
        (m.ServiceStatus, {"pid": 1, "uptime": 0.0, "runs": 0, "connections": 0, "faults": ("x",) * 17}),
        (m.ServiceStatus, {"pid": 1, "uptime": 0.0, "runs": 0, "connections": 0, "shares": ({"user": "ada"},)}),
        (m.Matched, {"reason": "luck", "start": 0, "end": 0}),
    ],
)
def test_a_value_out_of_range_is_refused(kind: type[m.Message], fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(fields)
