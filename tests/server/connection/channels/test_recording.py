"""A recording is sent completely and in order, in messages no larger and no faster than the client accepts."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB, Limits
from farhand_server.connection.channels.recording import RecordingChannel
from farhand_server.runs.plan import TerminalPlan
from farhand_server.runs.run import AnyRun, LiveRun
from tests.server.connection.channels.runs import finish, past, run
from tests.support.fake_session import FakeSession


def ask(session: FakeSession, watched: AnyRun) -> RecordingChannel:
    number = session.open(m.RecordingRequest(id=watched.id))
    channel = RecordingChannel(session, number, watched)
    channel.begin()
    return channel


def marks(session: FakeSession, channel: RecordingChannel) -> list[m.OutputMark]:
    return [
        mark
        for message in session.received[channel.number]
        if isinstance(message, m.OutputMarks)
        for mark in message.marks
    ]


def write(watched: LiveRun, count: int) -> None:
    """Let the run write `count` bytes, a millisecond apart."""
    assert watched.timeline is not None
    for _ in range(count):
        watched.timeline.start -= 0.001
        watched.stdout.append(b"x")


async def test_all_marks_made_so_far_are_sent_and_then_done(tmp_path: Path) -> None:
    watched = run(tmp_path, terminal=TerminalPlan("xterm", 80, 24), disk_spool=1 << 16, record_input=True)
    assert watched.timeline is not None
    watched.timeline.fed(b"ls\r")
    watched.stdout.append(b"ls\r\n")
    watched.timeline.resized(132, 43)
    session = FakeSession()
    channel = ask(session, watched)
    session.all_turns()
    assert session.received[channel.number][-1] == m.Done()
    reported = marks(session, channel)
    sizes = [mark.size for mark in reported if mark.size is not None]
    assert sizes == [m.WindowSize(columns=80, rows=24), m.WindowSize(columns=132, rows=43)]
    assert [mark.stdin for mark in reported if mark.stdin is not None] == [b"ls\r"]
    assert [mark.stdout for mark in reported if mark.stdout is not None] == [4]
    assert {mark.cut for mark in reported} == {None}


async def test_a_run_without_output_has_no_marks() -> None:
    session = FakeSession()
    channel = ask(session, run())
    session.all_turns()
    assert session.received[channel.number] == [m.Done()]


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1500])
async def test_many_marks_are_sent_in_messages_of_five_hundred(count: int) -> None:
    watched, session = run(), FakeSession()
    write(watched, count)
    channel = ask(session, watched)
    session.all_turns()
    assert [mark.stdout for mark in marks(session, channel)] == list(range(1, count + 1))
    *messages, last = session.received[channel.number]
    assert [len(message.marks) for message in messages if isinstance(message, m.OutputMarks)][:-1] == [500] * (
        -(-count // 500) - 1
    )
    assert last == m.Done()


async def test_messages_are_no_larger_than_the_clients_limit() -> None:
    watched = run(record_input=True)
    assert watched.timeline is not None
    for _ in range(100):
        watched.timeline.start -= 0.001
        watched.timeline.fed(b"k" * 1000)
    session = FakeSession(Limits(login_message=16 * KiB, message=16 * KiB))
    channel = ask(session, watched)
    session.all_turns()
    reported = marks(session, channel)
    assert sum(len(mark.stdin or b"") for mark in reported) == 100_000
    assert all(one.at <= other.at for one, other in pairwise(reported))
    assert len(session.received[channel.number]) > 5


async def test_marks_made_during_the_answer_are_not_sent() -> None:
    watched, session = run(), FakeSession()
    write(watched, 800)
    channel = ask(session, watched)
    turns = 0
    while session.waiting:
        session.turn()
        write(watched, 600)
        turns += 1
        assert turns < 10
    assert [mark.stdout for mark in marks(session, channel)] == list(range(1, 801))


async def test_unread_recordings_use_little_memory() -> None:
    watched, session = run(), FakeSession()
    write(watched, 4000)
    for _ in range(25):
        ask(session, watched)
    tracemalloc.start()
    try:
        for _ in range(25):
            session.waiting.rotate(-1)
            session.waiting[0].send_some()
            session.connection.data_to_send()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 25 * 4 * KiB


async def test_a_recording_is_kept_as_long_as_the_output() -> None:
    watched, session = run(), FakeSession()
    write(watched, 3)
    finish(watched)
    channel = ask(session, watched)
    session.all_turns()
    assert len(marks(session, channel)) == 3
    watched.close()
    gone = ask(session, watched)
    session.all_turns()
    sentence = f"the output of run {watched.plan.id} is no longer kept, and neither are its times"
    assert session.received[gone.number] == [m.Error(code=ErrorCode.EXPIRED, message=sentence)]


async def test_past_runs_have_no_recording() -> None:
    session = FakeSession()
    channel = ask(session, past())
    session.all_turns()
    [error] = session.received[channel.number]
    assert isinstance(error, m.Error)
    assert error.code == ErrorCode.EXPIRED


async def test_dropping_the_output_during_the_answer_is_an_error() -> None:
    watched, session = run(), FakeSession()
    write(watched, 800)
    channel = ask(session, watched)
    session.turn()
    watched.close()
    session.all_turns()
    assert len(marks(session, channel)) == 500
    last = session.received[channel.number][-1]
    assert isinstance(last, m.Error)
    assert session.forgotten == [channel]


async def test_nothing_more_is_sent_to_a_client_that_leaves() -> None:
    watched, session = run(), FakeSession()
    write(watched, 800)
    channel = ask(session, watched)
    session.turn()
    session.close(channel.number)
    channel.received(m.Close())
    session.all_turns()
    assert session.received[channel.number][1:] == [m.Done()]
    other = ask(session, watched)
    other.lost()
    session.all_turns()
    assert other.number not in session.received
