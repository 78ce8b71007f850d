"""A signal by id is delivered, also to a run that is only about to start, or refused with the reason."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import SpawnFailed
from farhand_server.connection.channels.deliver import DeliverChannel
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.run import AnyRun, LiveRun
from tests.server.connection.channels.runs import finish, past, plan, run
from tests.support.fake_session import FakeSession


def deliver(session: FakeSession, wanted: AnyRun, number: int = signal.SIGTERM) -> DeliverChannel:
    request = m.Deliver(id=wanted.id, number=number)
    channel = DeliverChannel(session, session.open(request), wanted, request, None)
    channel.begin()
    return channel


class Signalled(LiveRun):
    """A run that records the signals it receives."""

    sent: list[int]

    def signal(self, number: int) -> bool:
        self.sent.append(number)
        return self.pid is not None and self.result is None


@pytest.fixture
async def wanted() -> Signalled:
    wanted = Signalled(plan(), SpoolMemory(1 << 20), Path("/nonexistent"))
    wanted.sent = []
    return wanted


def start(wanted: LiveRun) -> None:
    wanted.pid = 4242
    for watcher in wanted.attachments.watchers():
        watcher.started()


async def test_a_running_program_gets_the_signal_at_once(wanted: Signalled) -> None:
    session = FakeSession()
    start(wanted)
    channel = deliver(session, wanted)
    assert (wanted.sent, session.received[channel.number]) == ([signal.SIGTERM], [m.Done()])
    assert wanted.attachments.bystanders == []


async def test_a_run_that_has_not_started_gets_the_signal_once_it_has(wanted: Signalled) -> None:
    session = FakeSession()
    channel = deliver(session, wanted)
    assert channel.number not in session.received
    start(wanted)
    assert (wanted.sent, session.received[channel.number]) == ([signal.SIGTERM], [m.Done()])
    assert wanted.attachments.bystanders == []


async def test_a_signal_to_an_ended_run_is_refused(wanted: Signalled) -> None:
    session = FakeSession()
    start(wanted)
    finish(wanted)
    (error,) = session.received[deliver(session, wanted).number]
    assert isinstance(error, m.Error)
    assert (error.code, wanted.plan.id in error.message) == (ErrorCode.RUN_ENDED, True)
    (error,) = session.received[deliver(session, past()).number]
    assert isinstance(error, m.Error)
    assert error.code is ErrorCode.RUN_ENDED


async def test_a_signal_to_a_run_that_never_starts_is_refused(wanted: Signalled) -> None:
    session = FakeSession()
    channel = deliver(session, wanted)
    finish(wanted, SpawnFailed(errno=2, error="ENOENT", what="program", message="no"))
    (error,) = session.received[channel.number]
    assert isinstance(error, m.Error)
    assert error.code is ErrorCode.RUN_ENDED
    channel = deliver(session, refused := run())
    refused.refuse("the disk is full")
    assert session.received[channel.number] == [m.Error(code=ErrorCode.UNAVAILABLE, message="the disk is full")]


async def test_a_client_that_leaves_before_the_start_sends_no_signal(wanted: Signalled) -> None:
    session = FakeSession()
    gone, left = deliver(session, wanted), deliver(session, wanted)
    gone.lost()
    gone.failed(ErrorCode.INTERNAL, "too late")
    assert gone.number not in session.received
    session.close(left.number)
    left.received(m.Close())
    start(wanted)
    assert (wanted.sent, session.received[left.number]) == ([], [m.Done()])
