"""Every message from each side in each state: accepted where the tables allow it, refused on both ends otherwise.

Each test covers one state with all its messages, and names every case that fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from farhand_protocol import messages as m
from farhand_protocol.channel import legal_messages
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.events import ConnectionFailed, MessageReceived
from farhand_protocol.outcome import Exited
from farhand_protocol.states import (
    AT_MOST_ONCE,
    CHANNEL_MESSAGES,
    CONNECTION_TRANSITIONS,
    FINAL_MESSAGES,
    LEGAL_AFTER_CLOSE,
    LEGAL_BEFORE_STARTED,
    READ_ONLY_MESSAGES,
    TERMINAL_ONLY,
    UNREADABLE_OPENING,
    Phase,
    Side,
)
from tests.support.cases import Cases
from tests.support.pairs import (
    ACCEPTED,
    LOGIN,
    REFUSED,
    RUN_ID,
    SIZE,
    hello,
    in_phase,
    message,
    run,
    sent,
    terminal_run,
    text,
    welcome,
)

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
        m.Attach(id=RUN_ID, stdout=0, stderr=0, stdin=0),
        m.List(),
        m.Deliver(id=RUN_ID, number=15),
        m.WaitFor(id=RUN_ID),
        m.RecordingRequest(id=RUN_ID),
        m.StatusRequest(),
        m.Started(pid=1),
        m.Credit(stream="stdin", bytes=1),
        m.GapNotice(stream="stdout", offset=0, bytes=1),
        m.End(stream="stdin"),
        m.Resize(columns=80, rows=24),
        m.Signal(number=15),
        m.Stop(),
        m.Runs(runs=()),
        m.Done(),
        m.Matched(reason="timeout", start=0, end=0),
        m.ServiceStatus(pid=1, uptime=0, runs=0, connections=0),
        m.OutputMarks(marks=()),
        m.Exit(outcome=Exited(code=0)),
        m.Ended(outcome=Exited(code=0), stdout=0, stderr=0, duration=0),
        m.Close(),
    )
}
MESSAGES = list(EXAMPLES.values())
OPEN_PHASES = [phase for phase in Phase if phase is not Phase.CLOSED]


def test_there_is_an_example_of_every_message() -> None:
    assert set(EXAMPLES) == set(get_args(m.AnyMessage))


@pytest.mark.parametrize("phase", OPEN_PHASES)
class TestChannel0:
    def test_received(self, phase: Phase) -> None:
        with Cases() as cases:
            for speaker in Side:
                for msg in MESSAGES:
                    with cases.case(speaker, msg.type):
                        self.check_received(phase, speaker, msg)

    def check_received(self, phase: Phase, speaker: Side, msg: m.AnyMessage) -> None:
        receiver = in_phase(speaker.peer, phase)
        following = CONNECTION_TRANSITIONS[phase].get((speaker, type(msg)))
        events = list(receiver.receive_data(message(0, msg)))
        if following is not None and isinstance(msg, m.Ping):
            assert events == []  # answered by the connection itself
            return
        (event,) = events
        if following is None:
            assert isinstance(event, ConnectionFailed)
            assert event.error.code is ErrorCode.NOT_LEGAL
        else:
            assert event == MessageReceived(0, msg)
            assert receiver.phase is following

    def test_sent(self, phase: Phase) -> None:
        with Cases() as cases:
            for speaker in Side:
                for msg in MESSAGES:
                    with cases.case(speaker, msg.type):
                        self.check_sent(phase, speaker, msg)

    def check_sent(self, phase: Phase, speaker: Side, msg: m.AnyMessage) -> None:
        sender = in_phase(speaker, phase)
        following = CONNECTION_TRANSITIONS[phase].get((speaker, type(msg)))
        if following is None:
            with pytest.raises(LocalProtocolError):
                sender.send(0, msg)
            assert (sender.phase, sender.queued) == (phase, 0)
        else:
            sender.send(0, msg)
            assert sender.phase is following
            assert [frame.message for frame in sent(sender)] == [msg]


@pytest.mark.parametrize("speaker", Side)
@pytest.mark.parametrize("phase", Phase)
def test_a_ping_is_answered_when_ready_and_in_no_other_phase(phase: Phase, speaker: Side) -> None:
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


@pytest.mark.parametrize("side", Side)
def test_a_closed_connection_sends_nothing_and_ignores_what_arrives(side: Side) -> None:
    closed = in_phase(side, Phase.CLOSED)
    with Cases() as cases:
        for msg in MESSAGES:
            for channel in (0, 1):
                with cases.case(msg.type, channel):
                    with pytest.raises(LocalProtocolError):
                        closed.send(channel, msg)
                    assert list(closed.receive_data(message(channel, msg))) == []
                    assert closed.queued == 0


READING: dict[str, m.AnyMessage] = {
    "attach, read only": m.Attach(id=RUN_ID, stdout=0, read_only=True),
    "attach, read only, with size": m.Attach(id=RUN_ID, stdout=0, read_only=True, size=SIZE),
}
ON_TERMINALS: dict[str, m.AnyMessage] = {
    "run, with terminal": terminal_run(),
    "attach, with size": m.Attach(id=RUN_ID, stdout=0, stdin=0, size=SIZE),
    "attach, read only, with size": READING["attach, read only, with size"],
}
OPENINGS: dict[str, m.AnyMessage] = {
    **{EXAMPLES[kind].type: EXAMPLES[kind] for kind in CHANNEL_MESSAGES},
    **READING,
    **ON_TERMINALS,
}
openings = pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)


def allowed(opening: m.AnyMessage, speaker: Side) -> frozenset[type[m.Message]]:
    """Return the messages that `speaker` may send on a channel with this opening."""
    if speaker is Side.CLIENT and opening in READING.values():
        return READ_ONLY_MESSAGES
    msg = CHANNEL_MESSAGES[type(opening)][speaker]
    return msg if opening in ON_TERMINALS.values() else msg - TERMINAL_ONLY


@openings
def test_legal_messages_needs_no_channel(opening: m.AnyMessage) -> None:
    for speaker in Side:
        assert legal_messages(opening)[speaker] == allowed(opening, speaker)


def with_channel(side: Side, opening: m.AnyMessage, *, started: bool = True) -> Connection:
    """Return one side of a connection with a channel; if the channel is that of a run, the run has started."""
    connection = in_phase(side, Phase.READY)
    if side is Side.CLIENT:
        connection.open(opening)
    else:
        list(connection.receive_data(message(1, opening)))
    if started and m.Started in allowed(opening, Side.SERVER):
        pass_on(connection, Side.SERVER, m.Started(pid=1))
    connection.data_to_send()
    return connection


def pass_on(connection: Connection, speaker: Side, msg: m.Message) -> None:
    """Let `connection` send the message if it is the speaker, and receive it otherwise."""
    if connection.side is speaker:
        connection.send(1, msg)
    else:
        list(connection.receive_data(message(1, msg)))


def refused(receiver: Connection, bad: bytes) -> ErrorCode:
    (failure,) = receiver.receive_data(bad)
    assert isinstance(failure, ConnectionFailed)
    return failure.error.code


def _fitting(speaker: Side, msg: m.AnyMessage) -> m.AnyMessage:
    # Each side can end only a stream that it sends.
    return m.End(stream="stdout") if isinstance(msg, m.End) and speaker is Side.SERVER else msg


def _final(speaker: Side, opening: m.AnyMessage) -> list[m.AnyMessage]:
    return [EXAMPLES[kind] for kind in FINAL_MESSAGES[speaker] & allowed(opening, speaker)]


def messages_of_each_side() -> Iterator[tuple[Side, m.AnyMessage]]:
    for speaker in Side:
        for msg in MESSAGES:
            yield speaker, _fitting(speaker, msg)


@openings
class TestChannel:
    def legal(self, opening: m.AnyMessage, speaker: Side, msg: m.AnyMessage) -> bool:
        # `started` was already sent.
        return type(msg) in allowed(opening, speaker) - {m.Started}

    def test_received(self, opening: m.AnyMessage) -> None:
        with Cases() as cases:
            for speaker, msg in messages_of_each_side():
                with cases.case(speaker, msg.type):
                    receiver = with_channel(speaker.peer, opening)
                    if self.legal(opening, speaker, msg):
                        assert list(receiver.receive_data(message(1, msg))) == [MessageReceived(1, msg)]
                    else:
                        reused = speaker is Side.CLIENT and type(msg) in CHANNEL_MESSAGES
                        expected = ErrorCode.CHANNEL_REUSED if reused else ErrorCode.NOT_LEGAL
                        assert refused(receiver, message(1, msg)) is expected

    def test_sent(self, opening: m.AnyMessage) -> None:
        with Cases() as cases:
            for speaker, msg in messages_of_each_side():
                with cases.case(speaker, msg.type):
                    sender = with_channel(speaker, opening)
                    if self.legal(opening, speaker, msg):
                        sender.send(1, msg)
                        assert [frame.message for frame in sent(sender)] == [msg]
                    else:
                        with pytest.raises(LocalProtocolError):
                            sender.send(1, msg)
                        assert sender.queued == 0

    def test_after_the_speakers_final_message(self, opening: m.AnyMessage) -> None:
        with Cases() as cases:
            for speaker, msg in messages_of_each_side():
                for final in _final(speaker, opening):
                    with cases.case(speaker, final.type, msg.type):
                        receiver, sender = with_channel(speaker.peer, opening), with_channel(speaker, opening)
                        pass_on(receiver, speaker, final)
                        pass_on(sender, speaker, final)
                        assert refused(receiver, message(1, msg)) in {ErrorCode.NOT_LEGAL, ErrorCode.CHANNEL_REUSED}
                        with pytest.raises(LocalProtocolError):
                            sender.send(1, msg)

    def test_after_the_peers_final_message(self, opening: m.AnyMessage) -> None:
        """Messages in flight when the peer left are dropped; only the speaker's own final message is received."""
        with Cases() as cases:
            for speaker, msg in messages_of_each_side():
                if not self.legal(opening, speaker, msg):
                    continue
                for final in _final(speaker.peer, opening):
                    with cases.case(speaker, final.type, msg.type):
                        receiver = with_channel(speaker.peer, opening)
                        pass_on(receiver, speaker.peer, final)
                        received = [MessageReceived(1, msg)] if type(msg) in FINAL_MESSAGES[speaker] else []
                        assert list(receiver.receive_data(message(1, msg))) == received
                        assert receiver.open_channels == 1 - len(received)

    def test_once_the_client_has_left(self, opening: m.AnyMessage) -> None:
        """Every abandoned request can be answered with `done`, whatever its own answers are."""
        with Cases() as cases:
            for kind in LEGAL_AFTER_CLOSE:
                for started in (True, False):
                    with cases.case(EXAMPLES[kind].type, started):
                        for connection in [with_channel(side, opening, started=started) for side in Side]:
                            pass_on(connection, Side.CLIENT, m.Close())
                            pass_on(connection, Side.SERVER, EXAMPLES[kind])
                            assert (connection.open_channels, connection.closed) == (0, False)


@pytest.mark.parametrize(
    "opening",
    [
        pytest.param(opening, id=name)
        for name, opening in OPENINGS.items()
        if m.Started in allowed(opening, Side.SERVER)
    ],
)
class TestChannelOfARun:
    def test_before_started(self, opening: m.AnyMessage) -> None:
        with Cases() as cases:
            for speaker, msg in messages_of_each_side():
                if type(msg) not in allowed(opening, speaker):
                    continue
                with cases.case(speaker, msg.type):
                    receiver = with_channel(speaker.peer, opening, started=False)
                    sender = with_channel(speaker, opening, started=False)
                    if speaker is Side.CLIENT or type(msg) in LEGAL_BEFORE_STARTED:
                        assert list(receiver.receive_data(message(1, msg))) == [MessageReceived(1, msg)]
                        sender.send(1, msg)
                    else:
                        assert refused(receiver, message(1, msg)) is ErrorCode.NOT_LEGAL
                        with pytest.raises(LocalProtocolError):
                            sender.send(1, msg)
                        assert sender.queued == 0

    def test_twice(self, opening: m.AnyMessage) -> None:
        with Cases() as cases:
            for kind in AT_MOST_ONCE:
                msg = EXAMPLES[kind]
                for side in Side:
                    with cases.case(msg.type, side):
                        connection = with_channel(side, opening, started=kind is not m.Started)
                        pass_on(connection, Side.SERVER, msg)
                        if side is Side.SERVER:
                            with pytest.raises(LocalProtocolError):
                                connection.send(1, msg)
                        else:
                            assert refused(connection, message(1, msg)) is ErrorCode.NOT_LEGAL


def test_a_channel_whose_opening_could_not_be_understood_is_closed_by_both() -> None:
    server = in_phase(Side.SERVER, Phase.READY)
    list(server.receive_data(text(1, "{")))
    assert {type(frame.message) for frame in sent(server)} == UNREADABLE_OPENING[Side.SERVER]
    assert UNREADABLE_OPENING[Side.CLIENT] == {m.Close}
    list(server.receive_data(message(1, m.Close())))
    assert server.open_channels == 0


def test_a_client_opens_a_channel_with_an_opening_message_and_no_other() -> None:
    with Cases() as cases:
        for msg in MESSAGES:
            with cases.case(msg.type):
                client, server = in_phase(Side.CLIENT, Phase.READY), in_phase(Side.SERVER, Phase.READY)
                if type(msg) in CHANNEL_MESSAGES:
                    assert client.open(msg) == 1
                    assert list(server.receive_data(message(1, msg))) == [MessageReceived(1, msg)]
                    assert (client.open_channels, server.open_channels) == (1, 1)
                else:
                    with pytest.raises(LocalProtocolError):
                        client.open(msg)
                    assert (client.open_channels, client.queued) == (0, 0)
                    assert refused(server, message(1, msg)) is ErrorCode.UNKNOWN_CHANNEL


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.READY])
def test_channels_are_opened_only_when_ready(phase: Phase) -> None:
    with pytest.raises(LocalProtocolError):
        in_phase(Side.CLIENT, phase).open(run())


def test_a_server_opens_no_channels() -> None:
    with pytest.raises(LocalProtocolError):
        in_phase(Side.SERVER, Phase.READY).open(run())
