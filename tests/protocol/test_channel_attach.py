"""The channel of an `attach`: the requested streams, from the given offsets, with their gaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.events import ConnectionFailed
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import MIN_DATA, MIN_MESSAGE, Limits
from farhand_protocol.outcome import Exited
from farhand_protocol.states import Phase, Side
from tests.support.pairs import RUN_ID, Pair, in_phase, message

SMALL = Limits(message=MIN_MESSAGE, data=MIN_DATA, window=MIN_DATA, channels=2)
FRAMES: dict[m.Stream, Kind] = {"stdin": Kind.STDIN, "stdout": Kind.STDOUT, "stderr": Kind.STDERR}
offsets = st.none() | st.integers(0, m.MAX_COUNT)


def attach(**changes: object) -> m.Attach:
    return m.Attach.model_validate({"id": RUN_ID} | changes)


def refused(opening: m.Attach, receiver: Side, *bad: bytes) -> ErrorCode:
    """Return the code with which `receiver` refuses `bad` on a channel with this opening, after `started`."""
    connection = in_phase(receiver, Phase.READY, SMALL)
    if receiver is Side.CLIENT:
        connection.open(opening)
        list(connection.receive_data(message(1, m.Started(pid=1))))
    else:
        list(connection.receive_data(message(1, opening)))
    events = list(connection.receive_data(b"".join(bad)))
    assert isinstance(events[-1], ConnectionFailed)
    return events[-1].error.code


@given(offsets, offsets, offsets)
def test_a_stream_is_open_if_and_only_if_it_has_an_offset(
    stdin: int | None, stdout: int | None, stderr: int | None
) -> None:
    opening = attach(stdin=stdin, stdout=stdout, stderr=stderr)
    wanted: dict[m.Stream, int | None] = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    pair = Pair.ready()
    pair.start(opening)
    for stream, offset in wanted.items():
        sender = pair.client if stream == "stdin" else pair.server
        other = pair.server if stream == "stdin" else pair.client
        assert bool(sender.room(1, stream)) == (offset is not None)
        assert other.room(1, stream) == 0
        if offset is None:
            with pytest.raises(LocalProtocolError):
                sender.send(1, m.End(stream=stream))
            unwanted = (encode_frame(FRAMES[stream], 1, b"x"), message(1, m.End(stream=stream)))
            side = Side.SERVER if stream == "stdin" else Side.CLIENT
            assert {refused(opening, side, frame) for frame in unwanted} == {ErrorCode.DATA_AFTER_END}


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_no_data_is_sent_before_started(stream: m.Stream) -> None:
    pair = Pair.ready()
    pair.client.open(attach(stdout=0, stderr=0))
    pair.deliver()
    assert pair.server.room(1, stream) == 0
    with pytest.raises(LocalProtocolError):
        pair.server.send_data(1, stream, b"x")
    (failure,) = pair.client.receive_data(encode_frame(FRAMES[stream], 1, b"x"))
    assert isinstance(failure, ConnectionFailed)
    assert failure.error.code is ErrorCode.NOT_LEGAL


def test_a_client_feeds_the_run_before_started_arrives() -> None:
    pair = Pair.ready()
    pair.client.open(attach(stdin=7))
    pair.client.send_data(1, "stdin", b"early")
    assert pair.deliver() == ["client 1: attach", "client 1: stdin b'early'"]


class TestGap:
    def test_a_gap_follows_the_data_before_it_and_costs_no_credit(self) -> None:
        pair = Pair.ready(SMALL)
        pair.start(attach(stdout=100))
        pair.server.send_data(1, "stdout", bytes(10))
        room = pair.server.room(1, "stdout")
        pair.server.send(1, m.GapNotice(stream="stdout", offset=110, bytes=1 << 40))
        pair.server.send_data(1, "stdout", b"behind")
        pair.server.send(1, m.GapNotice(stream="stdout", offset=116 + (1 << 40), bytes=1))
        assert pair.server.room(1, "stdout") == room - 6
        assert pair.deliver() == [
            f"server 1: stdout {bytes(10)!r}",
            "server 1: gap",
            "server 1: stdout b'behind'",
            "server 1: gap",
        ]

    @pytest.mark.parametrize("offset", [0, 99, 101])
    def test_a_gap_at_any_other_offset_is_refused(self, offset: int) -> None:
        gap = m.GapNotice(stream="stdout", offset=offset, bytes=1)
        assert refused(attach(stdout=100), Side.CLIENT, message(1, gap)) is ErrorCode.NOT_LEGAL
        pair = Pair.ready()
        pair.start(attach(stdout=100))
        with pytest.raises(LocalProtocolError):
            pair.server.send(1, gap)
        assert pair.server.queued == 0

    def test_the_same_gap_twice_is_refused(self) -> None:
        gap = message(1, m.GapNotice(stream="stdout", offset=0, bytes=5))
        assert refused(attach(stdout=0), Side.CLIENT, gap, gap) is ErrorCode.NOT_LEGAL

    def test_a_gap_on_a_stream_that_is_not_open_is_refused(self) -> None:
        gap = message(1, m.GapNotice(stream="stderr", offset=0, bytes=5))
        ended = message(1, m.End(stream="stderr"))
        assert refused(attach(stdout=0), Side.CLIENT, gap) is ErrorCode.DATA_AFTER_END
        assert refused(attach(stderr=0), Side.CLIENT, ended, gap) is ErrorCode.DATA_AFTER_END
        pair = Pair.ready()
        pair.start(attach(stdout=0))
        with pytest.raises(LocalProtocolError):
            pair.server.send(1, m.GapNotice(stream="stderr", offset=0, bytes=5))

    def test_only_the_service_sends_gaps(self) -> None:
        gap = message(1, m.GapNotice(stream="stdout", offset=0, bytes=5))
        assert refused(attach(stdout=0), Side.SERVER, gap) is ErrorCode.NOT_LEGAL

    def test_a_gap_ends_at_an_offset(self) -> None:
        assert m.GapNotice(stream="stdout", offset=m.MAX_COUNT - 1, bytes=1).offset == m.MAX_COUNT - 1
        with pytest.raises(ValueError, match="beyond the largest offset"):
            m.GapNotice(stream="stdout", offset=m.MAX_COUNT, bytes=1)


class TestEnds:
    OUTCOME = Exited(code=0)

    def test_the_outcome_overtakes_the_output_and_the_end_does_not(self) -> None:
        pair = Pair.ready()
        pair.start(attach(stdout=0))
        pair.server.send_data(1, "stdout", b"1")
        pair.server.send(1, m.Exit(outcome=self.OUTCOME))
        pair.server.send_data(1, "stdout", b"2")
        pair.server.send(1, m.Ended(outcome=self.OUTCOME, stdout=2, stderr=0, duration=1))
        assert pair.deliver() == ["server 1: exit", "server 1: stdout b'1'", "server 1: stdout b'2'", "server 1: ended"]

    def test_done_follows_the_output_of_a_run_that_is_not_followed(self) -> None:
        pair = Pair.ready()
        pair.start(attach(stdout=0, follow=False))
        pair.server.send_data(1, "stdout", b"log")
        pair.server.send(1, m.Done())
        assert pair.deliver() == ["server 1: stdout b'log'", "server 1: done"]

    def test_a_client_that_leaves_before_started_is_answered_too(self) -> None:
        pair = Pair.ready()
        pair.client.open(attach(stdout=0))
        pair.client.send(1, m.Close())
        pair.deliver()
        pair.server.send(1, m.Done())
        assert pair.deliver() == ["server 1: done"]
        assert (pair.client.open_channels, pair.server.open_channels) == (0, 0)

    def test_a_run_that_never_ran_has_no_started(self) -> None:
        pair = Pair.ready()
        pair.client.open(attach(stdout=0))
        pair.deliver()
        pair.server.send(1, m.Ended(outcome=self.OUTCOME, stdout=0, stderr=0, duration=0))
        assert pair.deliver() == ["server 1: ended"]


@pytest.mark.parametrize("changes", [{"stdin": 0}, {"hold": True}])
def test_a_read_only_attachment_neither_feeds_nor_holds(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        attach(read_only=True, **changes)


def test_attachments_on_one_connection_progress_independently() -> None:
    pair = Pair.ready(SMALL)
    slow = pair.start(attach(stdout=0))
    fast = pair.start(attach(stdout=50))
    pair.server.send_data(slow, "stdout", bytes(MIN_DATA))
    for _ in range(3):
        pair.server.send_data(fast, "stdout", bytes(MIN_DATA))
        pair.deliver()
        pair.client.acknowledge(fast, "stdout", MIN_DATA)
        pair.deliver()
    assert (pair.server.room(slow, "stdout"), pair.server.room(fast, "stdout")) == (0, MIN_DATA)
