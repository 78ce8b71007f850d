"""Channels of runs on terminals: who may send a size, and how much output may be in flight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.channel import output_window
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.events import ConnectionFailed
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import MAX_WINDOW, MIN_DATA, MIN_WINDOW, TERMINAL_WINDOW, KiB, Limits
from farhand_protocol.states import TERMINAL_ONLY, Phase, Side
from tests.support.pairs import RUN_ID, SIZE, Pair, in_phase, message, run, sent, terminal_run

FRAME = 64 * KiB
ZEROS = bytes(FRAME)
RESIZE = m.Resize(columns=132, rows=43)
WATCHING = m.Attach(id=RUN_ID, stdout=0, size=SIZE, read_only=True)
TYPING = m.Attach(id=RUN_ID, stdout=0, stdin=0, size=SIZE)
PLAIN = [run(), run(merge_stderr=True), m.Attach(id=RUN_ID, stdout=0, stdin=0), m.Attach(id=RUN_ID, stdout=0)]

cells = st.integers(0, 0xFFFF)
sizes = st.builds(m.WindowSize, columns=cells, rows=cells)


def failed(receiver: Side, opening: m.AnyMessage, *bad: bytes) -> ErrorCode:
    """Return the code with which `receiver` refuses `bad` on a channel with this opening, after `started`."""
    connection = in_phase(receiver, Phase.READY)
    if receiver is Side.CLIENT:
        connection.open(opening)
        list(connection.receive_data(message(1, m.Started(pid=1))))
    else:
        list(connection.receive_data(message(1, opening)))
    events = list(connection.receive_data(b"".join(bad)))
    assert isinstance(events[-1], ConnectionFailed)
    return events[-1].error.code


class TestResize:
    def test_only_resize_is_limited_to_terminals(self) -> None:
        assert {m.Resize} == TERMINAL_ONLY

    @given(st.lists(st.builds(m.Resize, columns=cells, rows=cells), max_size=5))
    def test_both_sides_send_sizes_on_the_channel_of_a_terminal(self, resizes: list[m.Resize]) -> None:
        for opening in (terminal_run(), TYPING):
            pair = Pair.ready()
            pair.start(opening)
            for resize in resizes:
                pair.client.send(1, resize)
                pair.server.send(1, resize)
            assert sorted(pair.deliver()) == ["client 1: resize"] * len(resizes) + ["server 1: resize"] * len(resizes)

    @pytest.mark.parametrize("side", Side)
    @pytest.mark.parametrize("opening", PLAIN)
    def test_neither_side_may_resize_without_a_terminal(self, side: Side, opening: m.RunRequest | m.Attach) -> None:
        assert failed(side.peer, opening, message(1, RESIZE)) is ErrorCode.NOT_LEGAL
        pair = Pair.ready()
        pair.start(opening)
        with pytest.raises(LocalProtocolError):
            pair.end(side).send(1, RESIZE)
        assert pair.end(side).queued == 0

    def test_a_reader_receives_sizes_and_sends_none(self) -> None:
        pair = Pair.ready()
        pair.start(WATCHING)
        pair.server.send(1, RESIZE)
        assert pair.deliver() == ["server 1: resize"]
        assert failed(Side.SERVER, WATCHING, message(1, RESIZE)) is ErrorCode.NOT_LEGAL
        with pytest.raises(LocalProtocolError):
            pair.client.send(1, RESIZE)

    def test_a_client_may_resize_before_started_and_the_service_may_not(self) -> None:
        pair = Pair.ready()
        pair.client.open(terminal_run())
        pair.client.send(1, RESIZE)
        assert pair.deliver() == ["client 1: run", "client 1: resize"]
        with pytest.raises(LocalProtocolError):
            pair.server.send(1, RESIZE)
        client = in_phase(Side.CLIENT, Phase.READY)
        client.open(terminal_run())
        (failure,) = client.receive_data(message(1, RESIZE))
        assert isinstance(failure, ConnectionFailed)
        assert failure.error.code is ErrorCode.NOT_LEGAL

    @pytest.mark.parametrize("side", Side)
    def test_a_resize_overtakes_queued_data(self, side: Side) -> None:
        pair = Pair.ready()
        pair.start(terminal_run())
        pair.end(side).send_data(1, "stdin" if side is Side.CLIENT else "stdout", b"typed or written before")
        pair.end(side).send(1, RESIZE)
        assert [frame.kind is Kind.MESSAGE for frame in sent(pair.end(side))] == [True, False]


class TestWindow:
    """Both ends have the same window from the opening message alone."""

    windows = (
        st.none() | st.sampled_from([MIN_WINDOW, TERMINAL_WINDOW, MAX_WINDOW]) | st.integers(MIN_WINDOW, MAX_WINDOW)
    )
    announced = st.sampled_from([MIN_DATA, MIN_WINDOW, TERMINAL_WINDOW, 1 << 22]) | st.integers(FRAME, 1 << 22)

    @given(windows, announced)
    def test_the_window_is_the_smaller_of_requested_and_announced(self, window: int | None, announced: int) -> None:
        limits = Limits(data=min(FRAME, announced), window=announced)
        for opening in (run(window=window), m.Attach(id=RUN_ID, stdin=0, stdout=9, stderr=0, window=window)):
            expected = announced if window is None else min(announced, window)
            assert output_window(opening, announced) == expected
            pair = Pair.ready(limits)
            pair.start(opening)
            assert _fill(pair, Side.SERVER, "stdout") == expected
            assert _fill(pair, Side.SERVER, "stderr") == expected
            assert _fill(pair, Side.CLIENT, "stdin") == announced
            assert not any("failed" in line for line in pair.deliver())

    @pytest.mark.parametrize("opening", [run(window=MIN_WINDOW), m.Attach(id=RUN_ID, stdout=9, window=MIN_WINDOW)])
    def test_a_byte_beyond_the_window_is_an_error_on_both_ends(self, opening: m.RunRequest | m.Attach) -> None:
        whole, more = encode_frame(Kind.STDOUT, 1, bytes(MIN_WINDOW)), encode_frame(Kind.STDOUT, 1, b"x")
        assert failed(Side.CLIENT, opening, whole, more) is ErrorCode.CREDIT_EXCEEDED
        pair = Pair.ready()
        pair.start(opening)
        pair.server.send_data(1, "stdout", bytes(MIN_WINDOW))
        with pytest.raises(LocalProtocolError):
            pair.server.send_data(1, "stdout", b"x")

    @pytest.mark.parametrize("opening", [run(), m.Attach(id=RUN_ID, stdin=0, stdout=9, size=SIZE)])
    def test_without_a_requested_window_the_same_byte_is_accepted(self, opening: m.RunRequest | m.Attach) -> None:
        pair = Pair.ready()
        pair.start(opening)
        pair.server.send_data(1, "stdout", bytes(MIN_WINDOW))
        pair.server.send_data(1, "stdout", b"x")
        assert not any("failed" in line for line in pair.deliver())

    def test_the_window_is_acknowledged_a_quarter_at_a_time(self) -> None:
        pair = Pair.ready()
        pair.start(terminal_run(window=TERMINAL_WINDOW))
        _fill(pair, Side.SERVER, "stdout")
        pair.deliver()
        pair.client.acknowledge(1, "stdout", TERMINAL_WINDOW // 4 - 1)
        assert pair.deliver() == []
        assert pair.server.room(1, "stdout") == 0
        pair.client.acknowledge(1, "stdout", 1)
        assert pair.deliver() == ["client 1: credit"]
        assert _fill(pair, Side.SERVER, "stdout") == TERMINAL_WINDOW // 4

    def test_each_channel_of_a_connection_has_its_own_window(self) -> None:
        pair = Pair.ready()
        shell, copy = pair.start(terminal_run(window=TERMINAL_WINDOW)), pair.start(run())
        assert _fill(pair, Side.SERVER, "stdout", shell) == TERMINAL_WINDOW
        assert _fill(pair, Side.SERVER, "stdout", copy) == Limits().window


def _fill(pair: Pair, side: Side, stream: m.Stream, channel: int = 1) -> int:
    """Send as much as the credit allows; return the number of bytes."""
    sent = 0
    while room := pair.end(side).room(channel, stream):
        pair.end(side).send_data(channel, stream, ZEROS[:room])
        sent += room
    return sent
