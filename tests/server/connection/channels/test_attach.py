"""An attachment to a past run gets a gap and the outcome, and cannot change anything."""

from __future__ import annotations

from typing import Any

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited, Lost, SpawnFailed
from farhand_server.connection.channels.attach import PastRunChannel, RunHasNoTerminal
from farhand_server.runs.attachments.attachments import BadOffset
from farhand_server.runs.left import LeftRuns
from farhand_server.runs.plan import RunResult
from tests.support.client import new_id

from .runs import past
from .test_run import Outlet

ID = new_id()
WHOLE = m.RunRequest(id=ID, argv=(b"true",))


def opened(outlet: Outlet, request: m.RunRequest | m.Attach, **fields: Any) -> PastRunChannel:
    """Open a channel to a run that has written 5 and 7 bytes."""
    number = outlet.client.open(request)
    outlet.exchange()
    channel = PastRunChannel(outlet, number, past(id=ID, **fields), request, LeftRuns())
    channel.begin()
    return channel


def attach(**fields: Any) -> m.Attach:
    return m.Attach(id=ID, **fields)


@pytest.fixture
async def outlet() -> Outlet:
    return Outlet()


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (WHOLE, ["started", "gap", "end", "gap", "end", "ended"]),
        (m.RunRequest(id=ID, argv=(b"true",), merge_stderr=True), ["started", "gap", "end", "ended"]),
        (attach(stdout=5), ["started", "end", "ended"]),
        (attach(stdout=2, stderr=7, hold=True), ["started", "gap", "end", "end", "ended"]),
        (attach(stderr=0, follow=False), ["started", "gap", "end", "ended"]),
    ],
    ids=["whole", "merged", "at the end", "both", "without following"],
)
async def test_the_output_is_a_gap_and_the_outcome_follows(
    outlet: Outlet, request_: m.RunRequest | m.Attach, answer: list[str]
) -> None:
    channel = opened(outlet, request_)
    assert not channel.send_some()
    assert outlet.exchange() == answer
    assert not channel.send_some()
    channel.closed()
    channel.lost()
    assert outlet.exchange() == []


async def test_a_run_that_never_started_has_only_an_outcome(outlet: Outlet) -> None:
    failed = SpawnFailed(errno=2, error="ENOENT", what="program", message="no")
    channel = opened(outlet, WHOLE, pid=None, result=RunResult(failed, 0, 0, 0.1))
    channel.send_some()
    assert outlet.exchange() == ["ended"]


async def test_a_terminal_has_an_unknown_size(outlet: Outlet) -> None:
    channel = opened(outlet, attach(stdout=5, size=m.WindowSize(columns=80, rows=24)), has_terminal=True)
    channel.send_some()
    assert outlet.exchange() == ["started", "resize", "end", "ended"]
    with pytest.raises(RunHasNoTerminal, match="without a size"):
        opened(outlet, attach(stdout=5, size=m.WindowSize(columns=80, rows=24)))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [({"stdout": 6}, "stdout of run .* has 5 bytes"), ({"stdin": 3}, "cannot continue at 3")],
)
async def test_an_offset_beyond_the_record_is_refused_unless_the_run_is_lost(
    outlet: Outlet, wanted: dict[str, int], reason: str
) -> None:
    with pytest.raises(BadOffset, match=reason):
        opened(outlet, attach(**wanted))
    channel = opened(outlet, attach(**wanted), result=RunResult(Lost(), 5, 7, 1.0))
    channel.send_some()
    assert outlet.exchange()[-1] == "ended"


async def test_stdin_gets_its_credit_back_and_signals_do_nothing(outlet: Outlet) -> None:
    request = m.RunRequest(id=ID, argv=(b"cat",), stdin=True)
    channel = opened(outlet, request)
    outlet.exchange()
    window = outlet.client.room(channel.number, "stdin")
    outlet.client.send_data(channel.number, "stdin", b"x" * window)
    outlet.exchange()
    channel.received_data(b"x" * window)
    channel.received(m.Stop())
    channel.received(m.Signal(number=15))
    outlet.exchange()
    assert outlet.client.room(channel.number, "stdin") > 0
    channel.send_some()
    assert outlet.exchange()[-1] == "ended"


async def test_a_client_that_closes_gets_its_answer_and_nothing_more(outlet: Outlet) -> None:
    channel = opened(outlet, attach(stdout=0))
    channel.received(m.Close())
    assert outlet.exchange() == ["started", "done"]
    assert not channel.send_some()
    assert outlet.exchange() == []
    channel = opened(outlet, attach(stdout=0), result=RunResult(Exited(code=3), 5, 7, 1.0))
    channel.failed(ErrorCode.DENIED, "no")
    assert outlet.exchange() == ["started", "error"]
