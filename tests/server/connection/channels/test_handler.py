"""A handler that answers a single request answers exactly once, whatever happens."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.outcome import Exited
from farhand_server.connection.channels.handler import QueryChannel
from farhand_server.runs.plan import RunResult
from tests.support.client import new_id
from tests.support.fake_session import FakeSession


def opened() -> tuple[FakeSession, QueryChannel]:
    session = FakeSession()
    return session, QueryChannel(session, session.open(m.RecordingRequest(id=new_id())))


def answers_of(session: FakeSession, channel: QueryChannel) -> list[str]:
    return [message.type for message in session.received.get(channel.number, [])]


async def test_nothing_is_sent_until_there_is_an_answer() -> None:
    session, channel = opened()
    channel.begin()
    channel.started()
    channel.stdin_taken()
    channel.exited(Exited(code=0))
    channel.ended(RunResult(Exited(code=0), 0, 0, 1.0))
    channel.replaced()
    assert not channel.send_some()
    assert answers_of(session, channel) == []


async def test_only_the_first_answer_is_sent_and_the_channel_is_forgotten() -> None:
    session, channel = opened()
    channel.answer(m.Done())
    channel.answer(m.Done())
    channel.failed(ErrorCode.INTERNAL, "a fault")
    assert answers_of(session, channel) == ["done"]
    assert session.forgotten == [channel]
    channel.closed()


async def test_a_close_is_answered() -> None:
    session, channel = opened()
    session.close(channel.number)
    channel.received(m.Close())
    assert answers_of(session, channel) == ["done"]


async def test_a_failed_run_is_an_error() -> None:
    session, channel = opened()
    channel.failed(ErrorCode.INTERNAL, "a fault")
    assert answers_of(session, channel) == ["error"]


async def test_nothing_is_sent_on_a_channel_that_is_lost() -> None:
    session, channel = opened()
    channel.lost()
    channel.received_data(b"")
    channel.answer(m.Done())
    assert answers_of(session, channel) == []
    assert session.forgotten == []
