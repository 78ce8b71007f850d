"""A signal by id is delivered, also to a run that is only about to start, or refused with the reason."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import cast

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.left import LeftProcesses
from farhand_protocol.outcome import SpawnFailed
from farhand_server.connection.channels.deliver import DeliverChannel
from farhand_server.runs.output.directory import SpoolDirectory
from farhand_server.runs.output.spool import SpoolMemory
from farhand_server.runs.process.left import LeftTree
from farhand_server.runs.run import AnyRun, LiveRun
from tests.server.connection.channels.runs import finish, past, plan, run
from tests.support.fake_session import FakeSession


class FakeTree:
    """Processes that a run has left running. They end when told."""

    def __init__(self, *, alive: bool = True) -> None:
        self.alive = alive
        self.calls: list[tuple[int, float | None]] = []
        self.left: LeftProcesses | None = None
        self.stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def signal(self, number: int) -> bool:
        self.calls.append((number, None))
        return self.alive

    def describe(self) -> LeftProcesses | None:
        return self.left

    def stop(self, number: int, kill_after: float) -> asyncio.Future[None]:
        self.calls.append((number, kill_after))
        return self.stopped


def deliver(
    session: FakeSession,
    wanted: AnyRun,
    number: int = signal.SIGTERM,
    *,
    left: FakeTree | None = None,
    kill_after: float | None = None,
) -> DeliverChannel:
    request = m.Deliver(id=wanted.id, number=number, kill_after=kill_after)
    tree = cast("LeftTree | None", left)
    channel = DeliverChannel(session, session.open(request), wanted, request, tree)
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
    wanted = Signalled(plan(), SpoolMemory(1 << 20), SpoolDirectory(Path("/nonexistent")))
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


@pytest.mark.parametrize("alive", [True, False])
async def test_a_signal_to_an_ended_run_goes_to_the_processes_that_it_has_left_running(alive: bool) -> None:
    session, left = FakeSession(), FakeTree(alive=alive)
    channel = deliver(session, past(), signal.SIGHUP, left=left)
    assert left.calls == [(signal.SIGHUP, None)]
    (answer,) = session.received[channel.number]
    assert isinstance(answer, m.Done if alive else m.Error)


async def test_a_stop_that_has_not_ended_all_left_processes_has_failed() -> None:
    session, left = FakeSession(), FakeTree()
    channel = deliver(session, past(), left=left, kill_after=3.0)
    left.left = LeftProcesses(count=2, pids=(7, 8))
    left.stopped.set_result(None)
    await asyncio.sleep(0)
    (answer,) = session.received[channel.number]
    assert isinstance(answer, m.Error)
    assert (answer.code, answer.message) == (
        ErrorCode.UNAVAILABLE,
        "not all processes could be stopped; these are alive: 7, 8",
    )


async def test_a_stop_of_left_processes_is_answered_when_they_have_ended_and_goes_on_without_its_client() -> None:
    session, left = FakeSession(), FakeTree()
    channel = deliver(session, past(), left=left, kill_after=3.0)
    other = deliver(session, past(), left=left, kill_after=3.0)
    await asyncio.sleep(0)
    assert left.calls == [(signal.SIGTERM, 3.0)] * 2
    assert channel.number not in session.received
    other.lost()
    left.stopped.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert session.received[channel.number] == [m.Done()]
    assert other.number not in session.received
