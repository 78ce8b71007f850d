"""What a client sends while its request is being judged is kept for the run, or forgotten with the request."""

from __future__ import annotations

from farhand_protocol import messages as m
from farhand_server.connection.channels.judged import MAX_EARLY, MAX_EARLY_STDIN, JudgedChannel
from tests.support.client import new_id
from tests.support.fake_session import FakeSession


class Calls:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def waiting(session: FakeSession, abandoned: Calls | None = None, over: Calls | None = None) -> JudgedChannel:
    number = session.open(m.RunRequest(id=new_id(), argv=(b"cat",), stdin=True))
    return JudgedChannel(session, number, abandoned or Calls(), over or Calls())


async def test_stdin_and_messages_are_kept_in_their_order() -> None:
    channel = waiting(FakeSession())
    for _ in range(1000):
        channel.received_data(b"x")
    channel.received(m.Signal(number=2))
    channel.received(m.End(stream="stdin"))
    assert channel.data == b"x" * 1000
    assert channel.messages == [m.Signal(number=2), m.End(stream="stdin")]


async def test_only_the_last_size_of_a_terminal_and_so_many_signals_are_kept() -> None:
    channel = waiting(FakeSession())
    for columns in range(1, 1000):
        channel.received(m.Resize(columns=columns, rows=24))
        channel.received(m.Signal(number=15))
    channel.received(m.End(stream="stdin"))
    assert len(channel.messages) <= MAX_EARLY + 1
    assert channel.messages[-1] == m.End(stream="stdin")
    sizes = [each for each in channel.messages if isinstance(each, m.Resize)]
    assert len(sizes) == 1


async def test_a_client_that_leaves_or_is_lost_abandons_the_request() -> None:
    session, abandoned, over = FakeSession(), Calls(), Calls()
    channel = waiting(session, abandoned, over)
    session.close(channel.number)
    channel.received(m.Close())
    assert abandoned.times == 1
    assert session.forgotten == [channel]
    waiting(session, abandoned, over).lost()
    assert (abandoned.times, over.times) == (2, 2)


async def test_one_that_gives_way_to_the_runs_channel_abandons_nothing() -> None:
    abandoned, over = Calls(), Calls()
    waiting(FakeSession(), abandoned, over).give_way()
    assert (abandoned.times, over.times) == (0, 1)


async def test_a_client_that_sends_much_stdin_early_is_not_read_from_until_the_judgement() -> None:
    session = FakeSession()
    for end in (JudgedChannel.give_way, JudgedChannel.lost):
        channel = waiting(session)
        channel.received_data(bytes(MAX_EARLY_STDIN - 1))
        assert session.holding == set()
        channel.received_data(b"x")
        assert session.holding == {channel}
        assert channel.overfull, "it would be read from again"
        end(channel)
        assert session.holding == set()
        assert not channel.overfull
