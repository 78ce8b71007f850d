"""What `farhand forward` prints: sentences for people, lines of JSON for programs; a slow reader holds up nothing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from farhand_client.cli import forward_events
from farhand_client.cli.forward_events import EventReporter, ReportedOutage, SentenceReporter
from farhand_client.connection.reconnecting import Outage
from farhand_client.errors import ConnectionLost, ForwardError
from farhand_client.forwards.reports import ForwardedConnection, ForwardEvent
from farhand_client.forwards.specs import ForwardSpec, parse_spec
from farhand_forwards.targets import ForwardTarget, InetTarget
from tests.support.command import json_lines

SPEC = parse_spec("-L", "0:db:80")


class ListeningForward:
    """A forward that listens, as a reporter sees it."""

    def __init__(self, spec: ForwardSpec, address: ForwardTarget) -> None:
        self.spec = spec
        self.address = address
        self.port = 43210


class Numbers:
    """What a connection's numbers come from."""

    sent, received, address = 5, 2_000_000, InetTarget("192.0.2.1", 80)


def connection() -> ForwardedConnection:
    made = ForwardedConnection("127.0.0.1:5000", InetTarget("db", 80))
    made.joined(cast(Any, Numbers()))
    return made


def listening(text: str = "0:db:80") -> Any:
    return ListeningForward(parse_spec("-L", text), InetTarget("", 43210))


def test_stdout_has_the_chosen_ports_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SentenceReporter(verbose=False, says_listening=False)
    reporter.listening(listening())
    reporter.listening(listening("43210:db:80"))
    for kind in ("opened", "closed"):
        reporter.note(SPEC, ForwardEvent(cast(Any, kind), connection()))
    reporter.outage(None)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("43210\n", "")


async def test_verbose_names_each_connection(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SentenceReporter(verbose=True, says_listening=True)
    reporter.listening(listening())
    reporter.note(SPEC, ForwardEvent("opened", connection()))
    reporter.note(SPEC, ForwardEvent("closed", connection()))
    reporter.note(SPEC, ForwardEvent("refused", connection(), ForwardError("refused", "nothing listens there")))
    reporter.failed(ConnectionLost("lost"))
    await reporter.flush()
    assert capsys.readouterr().err.splitlines() == [
        "farhand: -L 0:db:80: listening on localhost:43210",
        "farhand: -L 0:db:80: connection from 127.0.0.1:5000 to db:80 (192.0.2.1:80)",
        "farhand: -L 0:db:80: connection from 127.0.0.1:5000 to db:80 closed after 0 s, 5 bytes sent, 1.9 MiB received",
        "farhand: -L 0:db:80: the connection from 127.0.0.1:5000 to db:80 was refused: nothing listens there",
        "farhand: lost",
    ]


async def test_each_event_is_a_line_of_json(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    reporter = EventReporter()
    writing = asyncio.ensure_future(reporter.write())
    reporter.listening(listening())
    reporter.note(SPEC, ForwardEvent("opened", connection()))
    reporter.note(SPEC, ForwardEvent("refused", connection(), ForwardError("refused", "nothing listens there")))
    notice = ReportedOutage("web", reporter)
    notice(Outage(ConnectionLost("cut"), 10.0))
    notice(None)
    await asyncio.sleep(0)
    reporter.note(SPEC, ForwardEvent("closed", connection()))
    reporter.failed(ConnectionLost("lost"))
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    await reporter.flush()
    events = json_lines(capfdbinary.readouterr().out)
    names = ["listening", "accepted", "refused", "outage", "reconnected", "closed", "error"]
    assert sorted(event["event"] for event in events) == sorted(names)
    by_name = {event["event"]: event for event in events}
    assert (by_name["listening"]["listen"], by_name["listening"]["port"]) == ("localhost:43210", 43210)
    assert by_name["refused"]["cause"] == "refused"
    assert (by_name["closed"]["sent"], by_name["closed"]["received"]) == (5, 2_000_000)
    assert by_name["closed"]["address"] == "192.0.2.1:80"
    assert by_name["error"]["error"]["message"] == "lost"


async def test_events_that_nobody_reads_are_counted(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_events, "MAX_UNREAD_EVENTS", 3)
    reporter = EventReporter()
    for _ in range(10):
        reporter.note(SPEC, ForwardEvent("opened", connection()))
    writing = asyncio.ensure_future(reporter.write())
    async with asyncio.timeout(20):
        data = b""
        while data.count(b"\n") < 4:
            await asyncio.sleep(0.01)
            data += capfdbinary.readouterr().out
    writing.cancel()
    assert json_lines(data)[-1] == {"event": "dropped", "events": 7}
