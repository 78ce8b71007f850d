"""Two joined connections, from login to close."""

from __future__ import annotations

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.events import ChannelFailed, ConnectionFailed, DataReceived, MessageReceived
from farhand_protocol.frames import MAX_PONGS, Kind, encode_frame
from farhand_protocol.limits import MAX_CHANNEL, MAX_WINDOW, MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.outcome import Exited
from farhand_protocol.states import Phase, Side
from tests.support.pairs import (
    ACCEPTED,
    LOGIN,
    REFUSED,
    Pair,
    hello,
    in_phase,
    message,
    run,
    sent,
    text,
    transcript,
    welcome,
)

SMALL = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA, channels=2)


def ended(stdout: int = 0, stderr: int = 0) -> m.Ended:
    return m.Ended(outcome=Exited(code=0), stdout=stdout, stderr=stderr, duration=0.5)


def test_a_run_from_login_to_close() -> None:
    pair = Pair()
    client, server = pair.client, pair.server
    client.send(0, hello())
    assert pair.deliver() == ["client 0: hello"]
    server.send(0, welcome(login=True))
    assert pair.deliver() == ["server 0: welcome"]
    client.send(0, LOGIN)
    assert pair.deliver() == ["client 0: login"]
    server.send(0, REFUSED)
    assert pair.deliver() == ["server 0: refused"]
    client.send(0, LOGIN)
    server_received = pair.deliver()
    server.send(0, ACCEPTED)
    assert server_received + pair.deliver() == ["client 0: login", "server 0: accepted"]

    assert client.open(run()) == 1
    client.send_data(1, "stdin", b"in")
    client.send(1, m.End(stream="stdin"))
    assert pair.deliver() == ["client 1: run", "client 1: stdin b'in'", "client 1: end"]
    server.send(1, m.Started(pid=7))
    server.send_data(1, "stdout", b"out")
    server.send_data(1, "stderr", b"err")
    server.send(1, m.End(stream="stdout"))
    server.send(1, ended(3, 3))
    assert pair.deliver() == [
        "server 1: started",
        "server 1: stdout b'out'",
        "server 1: stderr b'err'",
        "server 1: end",
        "server 1: ended",
    ]
    assert (client.open_channels, server.open_channels) == (1, 1)
    client.send(1, m.Close())
    assert pair.deliver() == ["client 1: close"]  # tells the service that the client has received the outcome
    assert (client.open_channels, server.open_channels) == (0, 0)


def test_both_sides_have_the_same_hello_frame_to_sign() -> None:
    pair = Pair()
    pair.client.send(0, hello())
    pair.deliver()
    assert pair.server.hello_frame == pair.client.hello_frame == message(0, hello())


def test_the_hello_frame_consists_of_the_exact_bytes_received() -> None:
    server = in_phase(Side.SERVER, Phase.HELLO)
    spaced = text(0, m.encode(hello()).replace(b",", b" , "))
    list(server.receive_data(spaced))
    assert server.hello_frame == spaced


class TestOrder:
    def test_messages_overtake_data_unless_they_are_ordered(self) -> None:
        pair = Pair.ready()
        pair.client.open(run())
        pair.client.send_data(1, "stdin", b"data")
        pair.client.send(1, m.End(stream="stdin"))
        pair.client.send(1, m.Signal(number=2))
        pair.client.send(0, m.Ping(id=1))
        pair.client.open(run())
        assert pair.deliver() == [
            "client 1: run",
            "client 1: signal",
            "client 2: run",
            "client 1: stdin b'data'",
            "client 1: end",
            "server 0: pong",
        ]

    def test_without_queued_data_messages_are_sent_in_order(self) -> None:
        pair = Pair.ready()
        pair.client.open(run())
        pair.client.send(1, m.End(stream="stdin"))
        pair.client.send(1, m.Signal(number=2))
        assert pair.deliver() == ["client 1: run", "client 1: end", "client 1: signal"]

    def test_an_outcome_comes_after_all_data(self) -> None:
        pair = Pair.ready()
        pair.start()
        pair.server.send_data(1, "stdout", b"1")
        pair.server.send(1, ended(1))
        assert pair.deliver() == ["server 1: stdout b'1'", "server 1: ended"]

    def test_a_run_does_not_overtake_the_close_that_makes_room_for_it(self) -> None:
        pair = Pair.ready(SMALL)
        for _ in range(2):
            pair.client.open(run())
        pair.client.send_data(1, "stdin", b"data")
        pair.deliver()
        pair.server.send(1, ended())
        pair.client.send_data(2, "stdin", b"more")
        pair.collect(Side.SERVER)
        list(pair.transfer(Side.SERVER, 1000))
        pair.client.send(1, m.Close())
        assert pair.client.open(run()) == 3
        assert pair.deliver() == ["client 2: stdin b'more'", "client 1: close", "client 3: run"]

    def test_a_signal_does_not_overtake_the_run_whose_opening_waits_behind_data(self) -> None:
        pair = Pair.ready(SMALL)
        one = pair.client.open(run())
        pair.client.send_data(one, "stdin", b"data")
        pair.client.send(one, m.End(stream="stdin"))
        two = pair.client.open(run())
        pair.client.send(two, m.Signal(number=2))
        pair.client.send(one, m.Signal(number=1))
        assert pair.deliver() == [
            "client 1: run",
            "client 1: signal",
            "client 1: stdin b'data'",
            "client 1: end",
            "client 2: run",
            "client 2: signal",
        ]

    def test_an_error_of_the_connection_replaces_all_queued_frames(self) -> None:
        pair = Pair.ready()
        pair.client.open(run())
        pair.client.fail(ErrorCode.INTERNAL, "over")
        pair.client.fail(ErrorCode.DENIED, "said too late")
        assert pair.deliver() == ["client 0: error"]
        assert pair.client.closed
        assert pair.server.closed


class TestCredit:
    def test_room_is_the_least_of_credit_and_frame(self) -> None:
        pair = Pair.ready(Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA + 10))
        pair.client.open(run())
        assert pair.client.room(1, "stdin") == MIN_DATA
        pair.client.send_data(1, "stdin", bytes(MIN_DATA))
        assert pair.client.room(1, "stdin") == 10
        with pytest.raises(LocalProtocolError):
            pair.client.send_data(1, "stdin", bytes(11))
        pair.client.send_data(1, "stdin", bytes(10))
        assert pair.client.room(1, "stdin") == 0

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_there_is_no_room_on_a_stream_of_the_peer(self, stream: m.Stream) -> None:
        pair = Pair.ready()
        pair.client.open(run())
        assert pair.client.room(1, stream) == 0
        assert pair.client.room(2, "stdin") == 0
        with pytest.raises(LocalProtocolError):
            pair.client.send_data(1, stream, b"x")

    def test_empty_data_cannot_be_sent(self) -> None:
        pair = Pair.ready()
        pair.client.open(run())
        with pytest.raises(LocalProtocolError):
            pair.client.send_data(1, "stdin", b"")

    def test_only_acknowledged_bytes_are_granted_again(self) -> None:
        pair = Pair.ready(SMALL)
        pair.start()
        pair.client.send_data(1, "stdin", bytes(MIN_DATA))
        assert len(pair.deliver()) == 1
        assert pair.client.room(1, "stdin") == 0
        pair.server.acknowledge(1, "stdin", MIN_DATA // 2)
        assert pair.deliver() == ["server 1: credit"]
        assert pair.client.room(1, "stdin") == MIN_DATA // 2

    def test_a_stream_without_credit_does_not_block_another(self) -> None:
        pair = Pair.ready(SMALL)
        pair.start()
        pair.server.send_data(1, "stderr", bytes(MIN_DATA))
        pair.deliver()
        assert (pair.server.room(1, "stderr"), pair.server.room(1, "stdout")) == (0, MIN_DATA)

    @pytest.mark.parametrize("stream", ["stdin", "stdout"])
    def test_credit_for_a_stream_that_is_not_open_changes_nothing(self, stream: m.Stream) -> None:
        server = in_phase(Side.SERVER, Phase.READY, SMALL)
        list(server.receive_data(message(1, run())))
        server.send(1, m.Started(pid=1))
        server.send(1, m.End(stream="stdout"))
        (event,) = server.receive_data(message(1, m.Credit(stream=stream, bytes=MAX_WINDOW)))
        assert isinstance(event, MessageReceived)
        assert server.room(1, stream) == 0

    def test_nothing_is_acknowledged_before_started(self) -> None:
        """The service may receive stdin before it sends `started`; the credit for it has to follow that."""
        pair = Pair.ready(SMALL)
        pair.client.open(run())
        pair.client.send_data(1, "stdin", bytes(MIN_DATA))
        pair.deliver()
        with pytest.raises(LocalProtocolError):
            pair.server.acknowledge(1, "stdin", MIN_DATA)
        pair.server.send(1, m.Started(pid=1))
        pair.server.acknowledge(1, "stdin", MIN_DATA)
        assert pair.deliver() == ["server 1: started", "server 1: credit"]

    def test_acknowledging_an_ended_stream_or_a_closed_channel_is_harmless(self) -> None:
        pair = Pair.ready(SMALL)
        pair.client.open(run())
        pair.client.send_data(1, "stdin", bytes(MIN_DATA))
        pair.client.send(1, m.End(stream="stdin"))
        pair.deliver()
        pair.server.send(1, m.Started(pid=1))
        pair.deliver()
        pair.server.acknowledge(1, "stdin", MIN_DATA)
        pair.server.acknowledge(9, "stdin", 1)
        assert pair.server.queued == 0


class TestChannels:
    def test_the_final_messages_may_cross(self) -> None:
        pair = Pair.ready()
        pair.start()
        pair.server.send_data(1, "stdout", b"under way")
        pair.server.send(1, ended())
        pair.client.send_data(1, "stdin", b"under way")
        pair.client.send(1, m.Close())
        assert pair.deliver() == ["client 1: close", "server 1: ended"]
        assert (pair.client.open_channels, pair.server.open_channels) == (0, 0)

    def test_a_client_that_left_receives_the_final_message_and_gives_no_credit(self) -> None:
        pair = Pair.ready(SMALL)
        pair.client.open(run())
        pair.client.send(1, m.Close())
        assert pair.deliver() == ["client 1: run", "client 1: close"]
        pair.server.send(1, m.Started(pid=1))
        pair.server.send_data(1, "stdout", bytes(MIN_DATA))
        assert pair.deliver() == []
        pair.client.acknowledge(1, "stdout", MIN_DATA)
        assert pair.client.queued == 0
        assert (pair.client.open_channels, pair.server.open_channels) == (1, 1)
        pair.server.send(1, m.Done())
        assert pair.deliver() == ["server 1: done"]
        assert (pair.client.open_channels, pair.server.open_channels) == (0, 0)

    def test_no_more_channels_are_opened_than_the_service_accepts(self) -> None:
        pair = Pair.ready(SMALL)
        for _ in range(SMALL.channels):
            pair.client.open(run())
        with pytest.raises(LocalProtocolError, match="2 channels are open"):
            pair.client.open(run())

    def test_channel_numbers_may_skip_to_the_largest(self) -> None:
        server = in_phase(Side.SERVER, Phase.READY)
        assert transcript(Side.CLIENT, server.receive_data(message(MAX_CHANNEL, run()))) == ["client 4294967295: run"]
        (failure,) = server.receive_data(message(MAX_CHANNEL - 1, run()))
        assert isinstance(failure, ConnectionFailed)

    def test_one_failed_channel_leaves_the_others_alone(self) -> None:
        pair = Pair.ready()
        pair.start()
        pair.start()
        assert transcript(Side.CLIENT, pair.server.receive_data(text(1, "{"))) == ["client 1: failed by bad_json"]
        assert pair.deliver() == ["server 1: error"]
        pair.client.send_data(2, "stdin", b"goes on")
        pair.server.send_data(2, "stdout", b"too")
        assert pair.deliver() == ["client 2: stdin b'goes on'", "server 2: stdout b'too'"]

    def test_frames_after_a_failed_opening_are_dropped(self) -> None:
        server = in_phase(Side.SERVER, Phase.READY)
        under_way = encode_frame(Kind.STDIN, 1, b"data") + message(1, m.End(stream="stdin")) + text(1, "{")
        opening = text(1, '{"type":"run","colour":1}')
        failure, close = server.receive_data(opening + under_way + message(1, m.Close()))
        assert isinstance(failure, ChannelFailed)
        assert close == MessageReceived(1, m.Close())
        assert (server.open_channels, len(sent(server))) == (0, 1)


class TestOwner:
    def test_each_event_is_seen_before_the_next_frame_is_judged(self) -> None:
        """A run and a bad message on its channel in one read: the owner's answer to the run is still legal."""
        server = in_phase(Side.SERVER, Phase.READY)
        events = []
        for event in server.receive_data(message(1, run()) + text(1, "{")):
            if isinstance(event, MessageReceived):
                server.send(1, m.Started(pid=1))
            events.append(type(event))
        assert events == [MessageReceived, ChannelFailed]
        assert [frame.message.type for frame in sent(server)] == ["started", "error"]

    def test_an_owner_that_closes_a_channel_gets_no_more_events_on_it(self) -> None:
        pair = Pair.ready()
        client = pair.client
        pair.start()
        data = encode_frame(Kind.STDOUT, 1, b"x")
        seen = []
        for event in client.receive_data(data * 3):
            seen.append(event)
            client.send(1, m.Close())
        assert seen == [DataReceived(1, "stdout", b"x")]

    def test_an_owner_that_ends_the_connection_gets_no_more_events(self) -> None:
        server = in_phase(Side.SERVER, Phase.READY)
        seen = []
        for event in server.receive_data(message(1, run()) * 3):
            seen.append(event)
            server.fail(ErrorCode.INTERNAL, "over")
        assert len(seen) == 1

    def test_a_mistake_changes_nothing(self) -> None:
        client = in_phase(Side.CLIENT, Phase.READY)
        client.open(run(stdin=False))
        client.data_to_send()
        mistakes = [
            (1, m.Started(pid=1)),
            (1, m.End(stream="stdin")),
            (1, m.End(stream="stdout")),
            (2, m.Close()),
            (0, m.Stop()),
        ]
        for channel, mistake in mistakes:
            with pytest.raises(LocalProtocolError):
                client.send(channel, mistake)
        assert (client.queued, client.open_channels, client.phase) == (0, 1, Phase.READY)

    def test_a_message_the_peer_would_refuse_for_its_size_is_not_sent(self) -> None:
        pair = Pair.ready(SMALL)
        with pytest.raises(LocalProtocolError, match=f"accepts at most {MIN_MESSAGE}"):
            pair.client.open(run(argv=(b"x" * MIN_MESSAGE,)))
        assert (pair.client.queued, pair.client.open_channels) == (0, 0)
        assert pair.client.open(run()) == 1

    def test_a_message_of_exactly_the_limit_is_accepted(self) -> None:
        pair = Pair.ready(SMALL)
        overhead = len(m.encode(run(argv=(b"",))))
        pair.client.open(run(argv=(b"x" * (MIN_MESSAGE - overhead),)))
        assert pair.deliver() == ["client 1: run"]

    @pytest.mark.parametrize("side", Side)
    def test_before_login_only_small_messages_are_sent(self, side: Side) -> None:
        connection = in_phase(side, Phase.WELCOME if side is Side.SERVER else Phase.HELLO)
        large = (welcome() if side is Side.SERVER else hello()).model_copy(update={"features": ("x" * 64,) * 300})
        with pytest.raises(LocalProtocolError):
            connection.send(0, large)


class TestFlood:
    @pytest.mark.parametrize("side", Side)
    def test_pongs_that_are_not_read_are_bounded(self, side: Side) -> None:
        connection = in_phase(side, Phase.READY)
        for _ in range(10):
            list(connection.receive_data(message(0, m.Ping(id=1)) * 1000))
        assert connection.queued == MAX_PONGS * len(message(0, m.Pong(id=1)))
        assert not connection.flooded

    def test_a_clients_own_requests_do_not_count_as_answers(self) -> None:
        """Otherwise a client with many requests and a service with many answers could wait for each other to read."""
        pair = Pair.ready()
        for _ in range(10):
            pair.client.open(run(argv=(b"x" * 100_000,)))
        assert pair.client.queued > pair.client.limits.control
        assert not pair.client.flooded


def test_an_unsolicited_pong_is_reported_and_harmless() -> None:
    connection: Connection = in_phase(Side.SERVER, Phase.READY)
    assert transcript(Side.CLIENT, connection.receive_data(message(0, m.Pong(id=3)))) == ["client 0: pong"]
