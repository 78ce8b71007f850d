"""Marks and bytes become events in order, also where bytes or marks are missing; and they are read from a service."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.output import Gap, Output
from farhand_client.recording.events import (
    MAX_EVENT_SIZE,
    GapEvent,
    InputEvent,
    NewlineTranslator,
    OutputEvent,
    OutputNeeded,
    RecordedEvent,
    RecordedEvents,
    RecordingReader,
    ResizeEvent,
)
from farhand_protocol.messages import OutputMark, RunInfo, WindowSize
from farhand_protocol.outcome import Exited
from tests.support.fake_listing import info
from tests.support.fake_recordings import output_of, recorded
from tests.support.fake_service import Behaviour, client_of


class Streams:
    """The output a service has: all but the first `dropped` bytes of each stream, at most `most` bytes at a time."""

    def __init__(self, stdout: bytes = b"", stderr: bytes = b"", *, dropped: int = 0, most: int = 7) -> None:
        self._kept: dict[Output, bytes] = {"stdout": stdout, "stderr": stderr}
        self._at: dict[Output, int] = {"stdout": 0, "stderr": 0}
        self._dropped = dropped
        self._most = most

    def answer(self, wanted: OutputNeeded, events: RecordedEvents) -> None:
        data, at = self._kept[wanted.stream], self._at[wanted.stream]
        if at < (dropped := min(self._dropped, len(data))):
            events.add_gap(Gap(wanted.stream, at, dropped - at))
            at = dropped
        chunk = data[at : at + min(wanted.size, self._most)]
        self._at[wanted.stream] = at + len(chunk)
        events.feed(wanted.stream, chunk)


def collected(events: RecordedEvents, streams: Streams) -> list[RecordedEvent]:
    found: list[RecordedEvent] = []
    for event in events:
        if isinstance(event, OutputNeeded):
            streams.answer(event, events)
        else:
            found.append(event)
    return found


def test_output_has_the_time_of_its_mark() -> None:
    marks = [OutputMark(at=0, stdout=2), OutputMark(at=1500, stdout=5, stderr=1), OutputMark(at=2000, stderr=3)]
    assert collected(RecordedEvents(marks, ("stdout", "stderr")), Streams(b"abcde", b"xyz")) == [
        OutputEvent(0.0, "stdout", b"ab"),
        OutputEvent(1.5, "stdout", b"cde"),
        OutputEvent(1.5, "stderr", b"x"),
        OutputEvent(2.0, "stderr", b"yz"),
    ]


def test_much_output_of_one_mark_is_split_into_events_of_the_same_time() -> None:
    data = bytes(MAX_EVENT_SIZE) * 2 + b"end"
    found = collected(RecordedEvents([OutputMark(at=250, stdout=len(data))], ("stdout",)), Streams(data, most=1 << 20))
    assert [(event.at, len(event.data)) for event in found if isinstance(event, OutputEvent)] == [
        (0.25, MAX_EVENT_SIZE),
        (0.25, MAX_EVENT_SIZE),
        (0.25, 3),
    ]


def test_output_without_a_mark_comes_after_all_marked_output() -> None:
    marks = [OutputMark(at=1000, stdout=1)]
    assert collected(RecordedEvents(marks, ("stdout", "stderr")), Streams(b"abc", b"x")) == [
        OutputEvent(1.0, "stdout", b"a"),
        OutputEvent(1.0, "stdout", b"bc"),
        OutputEvent(1.0, "stderr", b"x"),
    ]
    assert collected(RecordedEvents([], ("stdout",)), Streams(b"abc")) == [OutputEvent(0.0, "stdout", b"abc")]
    assert collected(RecordedEvents([], ("stdout",)), Streams()) == []


def test_sizes_and_input_are_in_order_with_output() -> None:
    marks = [
        OutputMark(at=0, size=WindowSize(columns=80, rows=24)),
        OutputMark(at=10, stdout=1),
        OutputMark(at=20, stdin=b"ls\r"),
        OutputMark(at=30, size=WindowSize(columns=100, rows=30)),
        OutputMark(at=40, stdout=2),
        OutputMark(at=50, stdin=b"x", cut=True),
    ]
    assert collected(RecordedEvents(marks, ("stdout",)), Streams(b"$\n")) == [
        ResizeEvent(0.0, 80, 24),
        OutputEvent(0.01, "stdout", b"$"),
        InputEvent(0.02, b"ls\r", False),
        ResizeEvent(0.03, 100, 30),
        OutputEvent(0.04, "stdout", b"\n"),
        InputEvent(0.05, b"x", True),
    ]


def test_lost_output_at_the_start_takes_no_time() -> None:
    marks = [
        OutputMark(at=0, size=WindowSize(columns=80, rows=24)),
        OutputMark(at=1000, stdout=2),
        OutputMark(at=5000, stdin=b"key"),
        OutputMark(at=9000, stdout=4),
        OutputMark(at=10_000, stdout=6),
        OutputMark(at=11_500, stdout=8),
    ]
    events = RecordedEvents(marks, ("stdout",))
    assert collected(events, Streams(b"abcdefgh", dropped=5)) == [
        ResizeEvent(0.0, 80, 24),
        GapEvent(0.0, Gap("stdout", 0, 5)),
        InputEvent(0.0, b"key", False),
        OutputEvent(0.0, "stdout", b"f"),
        OutputEvent(1.5, "stdout", b"g"),
        OutputEvent(1.5, "stdout", b"h"),
    ]
    assert events.origin == 10.0


def test_lost_output_later_leaves_the_times_unchanged() -> None:
    events = RecordedEvents([OutputMark(at=1000, stdout=2), OutputMark(at=3000, stdout=8)], ("stdout",))
    found: list[RecordedEvent] = []
    for event in events:
        if not isinstance(event, OutputNeeded):
            found.append(event)
        elif not found:
            events.feed("stdout", b"ab")
        elif len(found) == 1:
            events.add_gap(Gap("stdout", 2, 3))
            events.feed("stdout", b"fgh")
        else:
            events.feed("stdout", b"")
    assert found == [
        OutputEvent(1.0, "stdout", b"ab"),
        GapEvent(3.0, Gap("stdout", 2, 3)),
        OutputEvent(3.0, "stdout", b"fgh"),
    ]
    assert events.origin == 0.0


def test_if_all_output_is_lost_there_is_only_the_gap() -> None:
    events = RecordedEvents([OutputMark(at=1000, stdout=2), OutputMark(at=2000, stdout=5)], ("stdout",))
    assert collected(events, Streams(b"abcde", dropped=5)) == [GapEvent(0.0, Gap("stdout", 0, 5))]


def test_marks_of_a_stream_that_is_not_read_are_ignored() -> None:
    marks = [OutputMark(at=5, stdout=1, stderr=4)]
    assert collected(RecordedEvents(marks, ("stdout",)), Streams(b"a")) == [OutputEvent(0.005, "stdout", b"a")]


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9), st.integers(0, 9)), max_size=20),
    st.integers(0, 60),
    st.integers(1, 30),
    st.integers(0, 20),
)
def test_every_available_byte_is_in_one_event_and_in_order(
    steps: list[tuple[int, int, int]], dropped: int, most: int, unmarked: int
) -> None:
    marks, at, out, err = [], 0, 0, 0
    for wait, more, errors in steps:
        at, out, err = at + wait, out + more, err + errors
        marks.append(OutputMark(at=at, stdout=out if more else None, stderr=err if errors else None))
    stdout, stderr = bytes(range(255))[: out + unmarked], bytes(range(255))[:err]
    found = collected(RecordedEvents(marks, ("stdout", "stderr")), Streams(stdout, stderr, dropped=dropped, most=most))
    times = [event.at for event in found]
    assert times == sorted(times)
    for name, data in (("stdout", stdout), ("stderr", stderr)):
        missing = sum(event.gap.bytes for event in found if isinstance(event, GapEvent) and event.gap.stream == name)
        kept = b"".join(event.data for event in found if isinstance(event, OutputEvent) and event.stream == name)
        assert data[missing:] == kept
        assert missing == min(dropped, len(data))


def test_time_never_goes_back() -> None:
    marks = [OutputMark(at=1000, stdout=1), OutputMark(at=500, stdout=2)]
    assert [event.at for event in collected(RecordedEvents(marks, ("stdout",)), Streams(b"ab"))] == [1.0, 1.0]


async def read(
    tmp_path: Path, behave: Behaviour, run: RunInfo, *marks: OutputMark
) -> tuple[RecordingReader, list[RecordedEvent]]:
    async with client_of(tmp_path, behave) as (client, service):
        service.answer = recorded(run, *marks)
        reader = RecordingReader(client, run)
        assert reader.origin == 0.0
        async with aclosing(reader.events()) as events:
            return reader, [event async for event in events]


async def test_both_streams_of_a_run_are_read_from_the_service(tmp_path: Path) -> None:
    marks = [OutputMark(at=0, stdout=2), OutputMark(at=50, stdout=3, stderr=1)]
    reader, events = await read(tmp_path, output_of(b"abc", b"e"), info(outcome=Exited(code=3)), *marks)
    assert events == [
        OutputEvent(0.0, "stdout", b"ab"),
        OutputEvent(0.05, "stdout", b"c"),
        OutputEvent(0.05, "stderr", b"e"),
    ]
    assert (reader.still_running, reader.origin) == (False, 0.0)


async def test_gaps_are_read_and_a_run_may_continue_after_its_recording(tmp_path: Path) -> None:
    marks = [OutputMark(at=1000, stdout=3)]
    reader, events = await read(tmp_path, output_of(b"abc", dropped=2, running=True), info(), *marks)
    assert events == [GapEvent(0.0, Gap("stdout", 0, 2)), OutputEvent(0.0, "stdout", b"c")]
    assert (reader.still_running, reader.origin) == (True, 1.0)


async def test_only_stdout_of_a_run_on_a_terminal_is_read(tmp_path: Path) -> None:
    size = WindowSize(columns=80, rows=24)
    run = info(outcome=Exited(code=3), terminal=size)
    _, events = await read(tmp_path, output_of(b"abc"), run, OutputMark(at=0, size=size))
    assert events == [ResizeEvent(0.0, 80, 24), OutputEvent(0.0, "stdout", b"abc")]


@pytest.mark.parametrize(
    ("data", "translated"),
    [
        ([b"a\nb\n"], b"a\r\nb\r\n"),
        ([b"a\r\nb"], b"a\r\nb"),
        ([b"a\r", b"\nb\r", b"c\n"], b"a\r\nb\rc\r\n"),
        ([b"\n", b"", b"\n"], b"\r\n\r\n"),
        ([b"a\r\r\n"], b"a\r\r\n"),
    ],
)
def test_newlines_become_cr_lf_unless_they_already_are(data: list[bytes], translated: bytes) -> None:
    translator = NewlineTranslator()
    assert b"".join(map(translator.translate, data)) == translated
