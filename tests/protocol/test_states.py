"""Every message of every side in every phase: legal as the table says, and refused on both ends where it does not."""

from __future__ import annotations

from typing import get_args

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.events import ConnectionFailed, MessageReceived
from farhand_protocol.outcome import Exited
from farhand_protocol.states import CHANNEL, CONNECTION, LAST, OPENING, Phase, Side
from tests.support.pairs import ACCEPTED, LOGIN, REFUSED, hello, in_phase, message, run, sent, welcome

EXAMPLES: dict[type[m.Message], m.AnyMessage] = {
    type(example): example
    for example in (
        hello(),
        welcome(),
        LOGIN,
        REFUSED,
        ACCEPTED,
        m.Ping(id=1),
        m.Pong(id=1),
        m.GoingAway(grace=0),
        m.Error(code=ErrorCode.INTERNAL, message="over"),
        run(),
        m.Started(pid=1),
        m.Credit(stream="stdin", bytes=1),
        m.End(stream="stdin"),
        m.Signal(number=15),
        m.Stop(),
        m.Ended(outcome=Exited(code=0), stdout=0, stderr=0, duration=0),
        m.Close(),
    )
}
everything = pytest.mark.parametrize("said", EXAMPLES.values(), ids=lambda said: said.type)
both = pytest.mark.parametrize("speaker", Side)


def test_there_is_an_example_of_every_message() -> None:
    assert set(EXAMPLES) == set(get_args(m.AnyMessage))


@everything
@both
@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.CLOSED])
class TestChannel0:
    def test_received(self, phase: Phase, speaker: Side, said: m.AnyMessage) -> None:
        receiver = in_phase(speaker.peer, phase)
        following = CONNECTION[phase].get((speaker, type(said)))
        events = list(receiver.receive_data(message(0, said)))
        if following is not None and isinstance(said, m.Ping):
            assert events == []  # answered by the connection itself
            return
        (event,) = events
        if following is None:
            assert isinstance(event, ConnectionFailed)
            assert event.error.code is ErrorCode.NOT_LEGAL
        else:
            assert event == MessageReceived(0, said)
            assert receiver.phase is following

    def test_sent(self, phase: Phase, speaker: Side, said: m.AnyMessage) -> None:
        sender = in_phase(speaker, phase)
        following = CONNECTION[phase].get((speaker, type(said)))
        if following is None:
            with pytest.raises(LocalProtocolError):
                sender.send(0, said)
            assert (sender.phase, sender.queued) == (phase, 0)
        else:
            sender.send(0, said)
            assert sender.phase is following
            assert [frame.message for frame in sent(sender)] == [said]


@pytest.mark.parametrize("phase", Phase)
@both
def test_a_ping_is_answered_when_ready_and_never_else(phase: Phase, speaker: Side) -> None:
    receiver = in_phase(speaker.peer, phase)
    events = list(receiver.receive_data(message(0, m.Ping(id=5))))
    if phase is Phase.READY:
        assert events == []
        assert [frame.message for frame in sent(receiver)] == [m.Pong(id=5)]
    elif phase is Phase.CLOSED:
        assert (events, receiver.queued) == ([], 0)
    else:
        (failure,) = events
        assert isinstance(failure, ConnectionFailed)
        assert failure.error.code is ErrorCode.NOT_LEGAL


@everything
@both
def test_nothing_is_sent_or_heard_once_closed(speaker: Side, said: m.AnyMessage) -> None:
    closed = in_phase(speaker, Phase.CLOSED)
    for channel in (0, 1):
        with pytest.raises(LocalProtocolError):
            closed.send(channel, said)
        assert list(closed.receive_data(message(channel, said))) == []
    assert closed.queued == 0


def with_channel(side: Side) -> Connection:
    connection = in_phase(side, Phase.READY)
    if side is Side.CLIENT:
        connection.open(run())
    else:
        list(connection.receive_data(message(1, run())))
    connection.data_to_send()
    return connection


def _fitting(speaker: Side, said: m.AnyMessage) -> m.AnyMessage:
    # Each side ends a stream that it sends.
    return m.End(stream="stdout") if isinstance(said, m.End) and speaker is Side.SERVER else said


@everything
@both
class TestChannel:
    def test_received(self, speaker: Side, said: m.AnyMessage) -> None:
        said = _fitting(speaker, said)
        receiver = with_channel(speaker.peer)
        (event,) = receiver.receive_data(message(1, said))
        if type(said) in CHANNEL[speaker]:
            assert event == MessageReceived(1, said)
        else:
            assert isinstance(event, ConnectionFailed)
            reused = speaker is Side.CLIENT and type(said) in OPENING
            assert event.error.code is (ErrorCode.CHANNEL_REUSED if reused else ErrorCode.NOT_LEGAL)

    def test_sent(self, speaker: Side, said: m.AnyMessage) -> None:
        said = _fitting(speaker, said)
        sender = with_channel(speaker)
        if type(said) in CHANNEL[speaker]:
            sender.send(1, said)
            assert [frame.message for frame in sent(sender)] == [said]
        else:
            with pytest.raises(LocalProtocolError):
                sender.send(1, said)
            assert sender.queued == 0

    def test_after_the_speakers_last(self, speaker: Side, said: m.AnyMessage) -> None:
        for last in LAST[speaker]:
            receiver, sender = with_channel(speaker.peer), with_channel(speaker)
            list(receiver.receive_data(message(1, EXAMPLES[last])))
            sender.send(1, EXAMPLES[last])
            (failure,) = receiver.receive_data(message(1, said))
            assert isinstance(failure, ConnectionFailed)
            with pytest.raises(LocalProtocolError):
                sender.send(1, said)

    def test_after_the_others_last(self, speaker: Side, said: m.AnyMessage) -> None:
        """What was under way when the other side left is swallowed; only the speaker's own last closes the channel."""
        said = _fitting(speaker, said)
        if type(said) not in CHANNEL[speaker]:
            return
        for last in LAST[speaker.peer]:
            receiver = with_channel(speaker.peer)
            receiver.send(1, EXAMPLES[last])
            assert list(receiver.receive_data(message(1, said))) == []
            assert receiver.channels == (0 if type(said) in LAST[speaker] else 1)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.READY])
def test_channels_are_opened_when_ready_only(phase: Phase) -> None:
    with pytest.raises(LocalProtocolError):
        in_phase(Side.CLIENT, phase).open(run())


def test_a_server_opens_no_channels() -> None:
    with pytest.raises(LocalProtocolError):
        in_phase(Side.SERVER, Phase.READY).open(run())
