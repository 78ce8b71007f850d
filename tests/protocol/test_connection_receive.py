"""What a service accepts of a kind, and how a caller that shares its thread takes events."""

from __future__ import annotations

from threading import Thread

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import LARGE_MESSAGE
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ChannelFailed, ConnectionFailed, DataReceived, LargeMessage, MessageReceived
from farhand_protocol.frames import MAX_PONGS, Kind, encode_frame, encode_header
from farhand_protocol.limits import CLIENT_LIMITS, FRAME_HEADER_SIZE, MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.states import Phase, Side
from tests.support.pairs import in_phase, message, run, text

LARGE = run(argv=("x" * 100_000,))


def test_a_message_on_an_open_channel_or_on_channel_0_must_be_small() -> None:
    for channel in (0, 1):
        connection = in_phase(Side.SERVER, Phase.READY)
        list(connection.receive_data(message(1, run())))
        (failure,) = connection.receive_data(encode_header(Kind.MESSAGE, channel, Limits().small_message + 1))
        assert isinstance(failure, ConnectionFailed)
        assert failure.error.code is ErrorCode.FRAME_TOO_LARGE


def test_a_request_may_be_large_and_a_pattern_of_control_characters_fits_a_small_message() -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    assert [type(event) for event in connection.receive_data(message(1, LARGE))] == [MessageReceived]
    wait = m.WaitFor(id=LARGE.id, pattern=b"\x1b" * m.MAX_PATTERN)
    assert len(m.encode(wait)) <= Limits().small_message


def test_before_login_a_message_has_few_values() -> None:
    connection = in_phase(Side.SERVER, Phase.HELLO)
    (failure,) = connection.receive_data(text(0, '{"type":"hello","versions":[' + "1," * 300 + "1]}"))
    assert isinstance(failure, ConnectionFailed)
    assert failure.error.code is ErrorCode.TOO_MANY_KEYS


def test_a_client_accepts_no_more_than_a_long_answer() -> None:
    connection = in_phase(Side.CLIENT, Phase.READY, CLIENT_LIMITS)
    (failure,) = connection.receive_data(encode_header(Kind.MESSAGE, 0, CLIENT_LIMITS.message + 1))
    assert isinstance(failure, ConnectionFailed)
    assert CLIENT_LIMITS.message >= MIN_MESSAGE


def test_a_large_message_is_announced_and_may_be_decoded_in_another_thread() -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    events = connection.receive(message(1, LARGE) + message(2, run()))
    large = next(events)
    assert isinstance(large, LargeMessage)
    assert len(large.payload) > LARGE_MESSAGE
    thread = Thread(target=large.decode)
    thread.start()
    thread.join()
    assert [(type(event), event.channel) for event in events if isinstance(event, MessageReceived)] == [
        (MessageReceived, 1),
        (MessageReceived, 2),
    ]


def test_a_caller_can_pause_after_each_ping_of_thousands() -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    flood = connection.receive(message(0, m.Ping(id=1)) * 1000 + message(2, run()))
    assert [next(flood) for _ in range(1000)] == [None] * 1000
    assert isinstance(next(flood), MessageReceived)


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_large_message_that_is_refused_fails_its_channel_alone(in_thread: bool) -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    events = connection.receive(text(1, '{"type":"' + "x" * LARGE_MESSAGE + '"}') + message(2, run()))
    large = next(events)
    assert isinstance(large, LargeMessage)
    if in_thread:
        large.decode()
    failed, received = events
    assert isinstance(failed, ChannelFailed)
    assert failed.error.__traceback__ is None, "its frames would keep the payload"
    assert isinstance(received, MessageReceived)


@pytest.mark.parametrize("taken", range(4))
def test_the_buffer_may_be_used_again_once_the_rest_is_kept(taken: int) -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    whole = b"".join(message(number, run()) for number in (1, 2, 3)) + message(4, run())[:20]
    buffer = bytearray(whole)
    events = connection.receive(memoryview(buffer))
    found = [next(events) for _ in range(taken)]
    connection.keep_rest()
    buffer[:] = bytes(len(buffer))
    found += list(events)
    assert [event.channel for event in found if isinstance(event, MessageReceived)] == [1, 2, 3]
    assert connection.incomplete == len(message(4, run()))
    (last,) = connection.receive_data(message(4, run())[20:])
    assert isinstance(last, MessageReceived)
    assert connection.incomplete == 0


def test_of_many_pings_at_once_the_last_ones_are_answered() -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    list(connection.receive_data(b"".join(message(0, m.Ping(id=number)) for number in range(1000))))
    answers = b"".join(message(0, m.Pong(id=number)) for number in range(1000 - MAX_PONGS, 1000))
    assert connection.queued == len(answers)
    assert b"".join(connection.data_to_send()) == answers
    assert connection.queued == 0


WHOLE = encode_frame(Kind.STDIN, 1, b"key")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WHOLE[:FRAME_HEADER_SIZE],
        WHOLE[:-1],
        WHOLE + b"x",
        WHOLE + WHOLE,
        message(2, run()),
        text(0, '{"type":"ping","id":1}'),
        encode_frame(Kind.STDIN, 1, b""),
        encode_frame(Kind.STDIN, 2, b"a channel that is not open"),
        encode_frame(Kind.STDOUT, 1, b"a stream that a client does not send"),
        encode_frame(9, 1, b"an unknown kind"),
        encode_frame(Kind.STDIN, 1, bytes(MIN_DATA + 1)),
        encode_frame(Kind.STDIN, 1, bytes(MIN_DATA)),  # three bytes of the window are taken
    ],
)
def test_anything_but_one_whole_legal_frame_of_data_is_left_to_the_general_way(data: bytes) -> None:
    limits = Limits(data=MIN_DATA, window=MIN_DATA)
    ways = [in_phase(Side.SERVER, Phase.READY, limits) for _ in range(2)]
    for connection in ways:
        list(connection.receive_data(message(1, run(stdin=True)) + WHOLE))
    quick, general = ways
    expected = list(general.receive_data(data))
    event = quick.whole_data(memoryview(data))
    assert event is None
    assert [type(each) for each in quick.receive_data(data)] == [type(each) for each in expected]
    assert b"".join(quick.data_to_send()) == b"".join(general.data_to_send())


def test_one_whole_frame_of_data_is_received_in_one_step_unless_a_part_of_another_came_before() -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    list(connection.receive_data(message(1, run(stdin=True))))
    assert connection.whole_data(memoryview(WHOLE)) == DataReceived(1, "stdin", b"key")
    list(connection.receive_data(WHOLE[:5]))
    assert connection.whole_data(memoryview(WHOLE)) is None
    assert list(connection.receive_data(WHOLE[5:])) == [DataReceived(1, "stdin", b"key")]
    assert connection.whole_data(memoryview(WHOLE)) == DataReceived(1, "stdin", b"key")


def test_no_data_is_received_in_one_step_before_login() -> None:
    assert in_phase(Side.SERVER, Phase.HELLO).whole_data(memoryview(WHOLE)) is None
