"""Marks and bytes become one story, also where bytes are gone or marks are few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.output import Gap, Output
from farhand_client.recording.events import PIECE, Event, Events, Missing, Resized, Typed, Wanted, Written
from farhand_protocol.messages import OutputMark, WindowSize


class Streams:
    """What a service keeps of a run's output: all but the first `gone` bytes of each stream, `most` at a time."""

    def __init__(self, stdout: bytes = b"", stderr: bytes = b"", *, gone: int = 0, most: int = 7) -> None:
        self._kept: dict[Output, bytes] = {"stdout": stdout, "stderr": stderr}
        self._at: dict[Output, int] = {"stdout": 0, "stderr": 0}
        self._gone = gone
        self._most = most

    def answer(self, wanted: Wanted, events: Events) -> None:
        data, at = self._kept[wanted.stream], self._at[wanted.stream]
        if at < (gone := min(self._gone, len(data))):
            events.gap(Gap(wanted.stream, at, gone - at))
            at = gone
        piece = data[at : at + min(wanted.size, self._most)]
        self._at[wanted.stream] = at + len(piece)
        events.fed(wanted.stream, piece)


def told(events: Events, streams: Streams) -> list[Event]:
    found: list[Event] = []
    for event in events:
        if isinstance(event, Wanted):
            streams.answer(event, events)
        else:
            found.append(event)
    return found


def test_output_came_when_its_mark_says() -> None:
    marks = [OutputMark(at=0, stdout=2), OutputMark(at=1500, stdout=5, stderr=1), OutputMark(at=2000, stderr=3)]
    assert told(Events(marks, ("stdout", "stderr")), Streams(b"abcde", b"xyz")) == [
        Written(0.0, "stdout", b"ab"),
        Written(1.5, "stdout", b"cde"),
        Written(1.5, "stderr", b"x"),
        Written(2.0, "stderr", b"yz"),
    ]


def test_a_mark_for_much_output_gives_it_in_pieces_at_one_time() -> None:
    data = bytes(PIECE) * 2 + b"end"
    found = told(Events([OutputMark(at=250, stdout=len(data))], ("stdout",)), Streams(data, most=1 << 20))
    assert [(event.at, len(event.data)) for event in found if isinstance(event, Written)] == [
        (0.25, PIECE),
        (0.25, PIECE),
        (0.25, 3),
    ]


def test_what_has_no_mark_came_after_all_that_has_one() -> None:
    marks = [OutputMark(at=1000, stdout=1)]
    assert told(Events(marks, ("stdout", "stderr")), Streams(b"abc", b"x")) == [
        Written(1.0, "stdout", b"a"),
        Written(1.0, "stdout", b"bc"),
        Written(1.0, "stderr", b"x"),
    ]
    assert told(Events([], ("stdout",)), Streams(b"abc")) == [Written(0.0, "stdout", b"abc")]
    assert told(Events([], ("stdout",)), Streams()) == []


def test_sizes_and_keys_have_their_place() -> None:
    marks = [
        OutputMark(at=0, size=WindowSize(columns=80, rows=24)),
        OutputMark(at=10, stdout=1),
        OutputMark(at=20, stdin=b"ls\r"),
        OutputMark(at=30, size=WindowSize(columns=100, rows=30)),
        OutputMark(at=40, stdout=2),
        OutputMark(at=50, stdin=b"x", cut=True),
    ]
    assert told(Events(marks, ("stdout",)), Streams(b"$\n")) == [
        Resized(0.0, 80, 24),
        Written(0.01, "stdout", b"$"),
        Typed(0.02, b"ls\r", False),
        Resized(0.03, 100, 30),
        Written(0.04, "stdout", b"\n"),
        Typed(0.05, b"x", True),
    ]


def test_what_is_no_longer_kept_takes_no_time() -> None:
    marks = [
        OutputMark(at=0, size=WindowSize(columns=80, rows=24)),
        OutputMark(at=1000, stdout=2),
        OutputMark(at=5000, stdin=b"key"),
        OutputMark(at=9000, stdout=4),
        OutputMark(at=10_000, stdout=6),
        OutputMark(at=11_500, stdout=8),
    ]
    events = Events(marks, ("stdout",))
    assert told(events, Streams(b"abcdefgh", gone=5)) == [
        Resized(0.0, 80, 24),
        Missing(0.0, Gap("stdout", 0, 5)),
        Typed(0.0, b"key", False),
        Written(0.0, "stdout", b"f"),
        Written(1.5, "stdout", b"g"),
        Written(1.5, "stdout", b"h"),
    ]
    assert events.origin == 10.0


def test_output_that_is_lost_on_the_way_leaves_the_times_as_they_are() -> None:
    events = Events([OutputMark(at=1000, stdout=2), OutputMark(at=3000, stdout=8)], ("stdout",))
    found: list[Event] = []
    for event in events:
        if not isinstance(event, Wanted):
            found.append(event)
        elif not found:
            events.fed("stdout", b"ab")
        elif len(found) == 1:
            events.gap(Gap("stdout", 2, 3))
            events.fed("stdout", b"fgh")
        else:
            events.fed("stdout", b"")
    assert found == [
        Written(1.0, "stdout", b"ab"),
        Missing(3.0, Gap("stdout", 2, 3)),
        Written(3.0, "stdout", b"fgh"),
    ]
    assert events.origin == 0.0


def test_where_nothing_is_kept_there_is_only_that() -> None:
    events = Events([OutputMark(at=1000, stdout=2), OutputMark(at=2000, stdout=5)], ("stdout",))
    assert told(events, Streams(b"abcde", gone=5)) == [Missing(0.0, Gap("stdout", 0, 5))]


def test_marks_for_a_stream_that_nobody_asked_for_are_passed_over() -> None:
    marks = [OutputMark(at=5, stdout=1, stderr=4)]
    assert told(Events(marks, ("stdout",)), Streams(b"a")) == [Written(0.005, "stdout", b"a")]


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9), st.integers(0, 9)), max_size=20),
    st.integers(0, 60),
    st.integers(1, 30),
    st.integers(0, 20),
)
def test_every_kept_byte_is_told_once_and_in_order(
    steps: list[tuple[int, int, int]], gone: int, most: int, unmarked: int
) -> None:
    marks, at, out, err = [], 0, 0, 0
    for wait, more, errors in steps:
        at, out, err = at + wait, out + more, err + errors
        marks.append(OutputMark(at=at, stdout=out if more else None, stderr=err if errors else None))
    stdout, stderr = bytes(range(255))[: out + unmarked], bytes(range(255))[:err]
    found = told(Events(marks, ("stdout", "stderr")), Streams(stdout, stderr, gone=gone, most=most))
    times = [event.at for event in found]
    assert times == sorted(times)
    for name, data in (("stdout", stdout), ("stderr", stderr)):
        missing = sum(event.gap.bytes for event in found if isinstance(event, Missing) and event.gap.stream == name)
        kept = b"".join(event.data for event in found if isinstance(event, Written) and event.stream == name)
        assert data[missing:] == kept
        assert missing == min(gone, len(data))


@pytest.mark.parametrize("marks", [[OutputMark(at=1000, stdout=1), OutputMark(at=500, stdout=2)]])
def test_time_never_goes_back(marks: list[OutputMark]) -> None:
    assert [event.at for event in told(Events(marks, ("stdout",)), Streams(b"ab"))] == [1.0, 1.0]
