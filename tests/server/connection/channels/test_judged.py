"""What a client sends while its request is being judged is kept for the run, or forgotten with the request."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_server.connection.channels.judged import MAX_EARLY, JudgedChannel
from tests.support.client import new_id
from tests.support.fake_session import FakeSession


class Abandoned:
    """Counts how often a request was abandoned."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def waiting(session: FakeSession, abandoned: Abandoned) -> JudgedChannel:
    number = session.open(m.RunRequest(id=new_id(), argv=(b"cat",), stdin=True))
    return JudgedChannel(session, number, abandoned)


async def test_stdin_and_messages_are_kept_in_their_order() -> None:
    channel = waiting(FakeSession(), Abandoned())
    for _ in range(1000):
        channel.received_data(b"x")
    channel.received(m.Signal(number=2))
    channel.received(m.End(stream="stdin"))
    assert channel.data == b"x" * 1000
    assert channel.messages == [m.Signal(number=2), m.End(stream="stdin")]


async def test_only_the_last_size_of_a_terminal_and_so_many_signals_are_kept() -> None:
    channel = waiting(FakeSession(), Abandoned())
    for columns in range(1, 1000):
        channel.received(m.Resize(columns=columns, rows=24))
        channel.received(m.Signal(number=15))
    channel.received(m.End(stream="stdin"))
    assert len(channel.messages) <= MAX_EARLY + 1
    assert channel.messages[-1] == m.End(stream="stdin")
    sizes = [each for each in channel.messages if isinstance(each, m.Resize)]
    assert len(sizes) == 1


async def test_a_client_that_leaves_or_is_lost_abandons_the_request() -> None:
    session, abandoned = FakeSession(), Abandoned()
    channel = waiting(session, abandoned)
    session.close(channel.number)
    channel.received(m.Close())
    assert abandoned.times == 1
    assert session.forgotten == [channel]
    waiting(session, abandoned).lost()
    assert abandoned.times == 2
