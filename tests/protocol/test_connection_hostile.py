"""Hostile input costs little memory and time, and the answers it provokes are bounded."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ChannelFailed, ConnectionFailed
from farhand_protocol.frames import Kind, encode_header
from farhand_protocol.limits import MAX_PAYLOAD, MIN_MESSAGE
from farhand_protocol.states import Phase, Side
from tests.protocol.test_connection_refusals import SMALL, json_modes, json_name, json_run
from tests.support.pairs import in_phase, message, run, sent, text

E = ErrorCode


def test_a_message_too_large_before_login_is_refused_at_its_header() -> None:
    connection = in_phase(Side.SERVER, Phase.HELLO)
    tracemalloc.start()
    (failure,) = connection.receive_data(encode_header(Kind.MESSAGE, 0, MAX_PAYLOAD))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(failure, ConnectionFailed)
    assert peak < 64 * 1024


@pytest.mark.parametrize("announced", [1 << 12, 1 << 22])
def test_a_partial_frame_takes_only_the_memory_of_the_bytes_received(announced: int) -> None:
    connection = in_phase(Side.SERVER, Phase.READY)
    tracemalloc.start()
    list(connection.receive_data(encode_header(Kind.MESSAGE, 0, announced) + b"x" * 1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 1024


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("{" + ",".join(f'"k{i}":1' for i in range(50_000)) + "}", id="50,000 unknown fields"),
        pytest.param(json_run('"argv":[' + ",".join(["1"] * 100_000) + "]"), id="100,000 wrong arguments"),
        pytest.param(json_run('"argv":["a"],"env":[' + ",".join(["[]"] * 50_000) + "]"), id="50,000 wrong pairs"),
        pytest.param(json_run('"argv":[' + ",".join(["[]"] * 50_000) + "]"), id="50,000 lists"),
        pytest.param(json_modes("[" + ",".join(["[]"] * 50_000) + "]"), id="50,000 wrong modes"),
        pytest.param(json_modes("[" + ",".join(['["ECHO",1]'] * 50_000) + "]"), id="50,000 modes"),
        pytest.param(json_name("x" * 1_000_000), id="a terminal name of a megabyte"),
        pytest.param("[" * 19 + '"' + '\\"' * 200_000, id="a string without end, of quotes"),
        pytest.param("[" * 9 + '"a' * 200_000, id="quotes without end"),
        pytest.param("[]" * 200_000, id="brackets"),
        pytest.param("]" * 200_000 + "[" * 200_000, id="brackets the wrong way round"),
        pytest.param('{"type":"' + "x" * 1_000_000 + '"}', id="a type of a megabyte"),
        pytest.param('{"type":"ping","' + "\\u0001" * 60_000 + '":1}', id="a key of control characters"),
        pytest.param('{"' + "\\u0001" * 60_000 + '":1,"' + "\\u0001" * 60_000 + '":1}', id="long duplicate keys"),
    ],
)
def test_hostile_json_is_refused_quickly_and_answered_shortly(payload: str) -> None:
    frame = text(1, payload)
    for _ in range(5):  # a busy machine counts some delays as processor time
        connection = in_phase(Side.SERVER, Phase.READY)
        start_time = time.process_time()
        (failure,) = connection.receive_data(frame)
        took = time.process_time() - start_time
        assert isinstance(failure, ChannelFailed)
        assert connection.queued < 4096
        if took < 0.5:
            return
        assert took < 10
    pytest.fail("five attempts took more than 0.5 s of processor time: an error for each element takes that long")


def test_an_unterminated_string_before_login_is_refused_quickly() -> None:
    connection = in_phase(Side.SERVER, Phase.HELLO)
    start_time = time.process_time()
    list(connection.receive_data(text(0, "[" * 19 + '"' + '\\"' * 8000)))
    assert time.process_time() - start_time < 0.1


def test_failed_channels_have_to_be_closed() -> None:
    connection = in_phase(Side.SERVER, Phase.READY, SMALL)
    events = [event for number in range(1, 100) for event in connection.receive_data(text(number, "{"))]
    assert isinstance(events[-1], ConnectionFailed)
    assert events[-1].error.code is E.TOO_MANY_CHANNELS
    assert all(isinstance(event, ChannelFailed) for event in events[:-1])
    assert len(events) <= 2 * SMALL.channels + 2


def test_failed_channels_that_are_closed_do_not_count() -> None:
    connection = in_phase(Side.SERVER, Phase.READY, SMALL)
    for number in range(1, 100):
        list(connection.receive_data(text(number, "{") + message(number, m.Close())))
    assert connection.open_channels == 0
    assert not connection.closed


def test_answers_queued_behind_data_count_as_flood() -> None:
    """A client that leaves a stream unread and opens and closes bad channels without end is no longer read from."""
    connection = in_phase(Side.SERVER, Phase.READY)
    list(connection.receive_data(message(1, run())))
    connection.send(1, m.Started(pid=1))
    connection.data_to_send()
    connection.send_data(1, "stdout", bytes(1000))
    for number in range(2, 100_000):
        list(connection.receive_data(text(number, "{") + message(number, m.Close())))
        if connection.flooded:
            break
    assert connection.flooded
    assert connection.queued < 2 * connection.limits.control
    connection.data_to_send()
    assert not connection.flooded


@pytest.mark.parametrize("sentence", ["x" * 100_000, "\x01" * 100_000, "😀" * 100_000, "\udcff"])
def test_an_error_fits_the_smallest_peer_whatever_it_quotes(sentence: str) -> None:
    connection = in_phase(Side.SERVER, Phase.READY, SMALL)
    connection.fail(E.INTERNAL, sentence)
    (frame,) = sent(connection)
    assert len(frame.payload) <= MIN_MESSAGE
    assert isinstance(frame.message, m.Error)
