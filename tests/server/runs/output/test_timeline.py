"""A timeline says when output arrived: never too early, late by at most one step, in bounded memory."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_server.runs.output.spool import MemorySpool, SpoolMemory
from farhand_server.runs.output.timeline import (
    MARK_BYTES,
    MAX_OUTPUT_MARKS,
    MAX_RECORDED_STDIN,
    MAX_STDIN_MARK,
    MarkSeries,
    Moment,
    Timeline,
    TimelinePosition,
)
from farhand_server.runs.plan import TerminalPlan
from farhand_server.runs.snapshots import Blob
from tests.server.connection.channels.runs import plan

FOREVER = 1 << 62
SCREEN = TerminalPlan("xterm", 80, 24)

gaps = st.lists(st.integers(0, 3) | st.integers(0, 200) | st.integers(0, 100_000), max_size=300)


def filled(pauses: list[int], limit: int) -> tuple[MarkSeries, list[tuple[int, int]]]:
    """Return a series that grows by one after each pause, and what was added, as (milliseconds, count)."""
    series, at, added = MarkSeries(limit, SpoolMemory(0)), 0, []
    for number, pause in enumerate(pauses, 1):
        at += pause
        series.add(at, number, 2 * number)
        added.append((at, number))
    return series, added


def make(memory: SpoolMemory | None = None, **fields: Any) -> tuple[Timeline, MemorySpool, MemorySpool]:
    """Return a timeline that begins now, and its spools."""
    memory = memory or SpoolMemory(1 << 30)
    stdout, stderr = MemorySpool(1 << 20, memory), MemorySpool(1 << 20, memory)
    timeline = Timeline(plan(**fields), 0.0, stdout, stderr, memory)
    return timeline, stdout, stderr


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the monotonic clock in seconds, as a list with one item that a test may set."""
    now = [0.0]
    monkeypatch.setattr("farhand_server.runs.output.timeline.time.monotonic", lambda: now[0])
    return now


def moments_of(timeline: Timeline, after: TimelinePosition | None = None, until: int = FOREVER) -> list[Moment]:
    return [moment for moment, _ in timeline.moments(after or TimelinePosition(), until)]


class TestSeries:
    @given(gaps, st.integers(2, 64))
    def test_a_series_is_bounded_and_ordered_and_ends_with_the_last_moment(self, pauses: list[int], limit: int) -> None:
        series, added = filled(pauses, limit)
        assert len(series) <= limit
        for column in (series.at, series.first, series.second):
            assert len(column) == len(series)
            assert all(one < other for one, other in pairwise(column))
        if added:
            assert (series.at[-1], series.first[-1], series.second[-1]) == (*added[-1], 2 * added[-1][1])

    @given(gaps, st.integers(2, 64))
    def test_no_output_is_dated_before_it_arrived(self, pauses: list[int], limit: int) -> None:
        series, added = filled(pauses, limit)
        received = {number: at for at, number in added}
        for at, number in zip(series.at, series.first, strict=True):
            assert received[number] <= at

    @given(gaps, st.integers(2, 64))
    def test_nothing_is_late_by_more_than_a_step_and_steps_are_as_short_as_possible(
        self, pauses: list[int], limit: int
    ) -> None:
        series, added = filled(pauses, limit)
        for at, number in added:
            assert at <= series.at[bisect_left(series.first, number)] < at + series.step
        span = added[-1][0] if added else 0
        assert series.step <= max(1, 4 * span / (limit - 1) + 2)

    def test_without_pauses_the_step_grows_no_faster_than_the_time(self) -> None:
        series = MarkSeries(64, SpoolMemory(0))
        for at in range(100_000):
            series.add(at, at, 0)
            assert series.step <= 4 * at / 64 + 1

    def test_every_millisecond_is_recorded_by_itself_while_there_is_room(self) -> None:
        series, added = filled([1, 0, 0, 5, 1, 1000, 0], 64)
        assert list(zip(series.at, series.first, strict=True)) == [(1, 3), (6, 4), (7, 5), (1007, 7)]
        assert len(added) == 7

    @given(gaps, st.integers(2, 64), st.integers(0, 50))
    def test_a_restored_series_continues_like_the_original(self, pauses: list[int], limit: int, later: int) -> None:
        original, added = filled(pauses, limit)
        memory = SpoolMemory(0)
        restored = MarkSeries(limit, memory)
        restored.add(3, 4, 5)
        stored: list[bytes] = []

        def put(columns: list[bytes]) -> Blob:
            stored.extend(columns)
            return 0, sum(map(len, columns))

        restored.restore(original.snapshot(put), lambda _: b"".join(stored))
        at = (added[-1][0] if added else 0) + later
        for series in (original, restored):
            series.add(at, 1000, 2000)
        assert (original.at, original.first, original.second, original.step) == (
            restored.at,
            restored.first,
            restored.second,
            restored.step,
        )
        assert memory.used == MARK_BYTES * len(restored)

    @given(gaps, st.integers(2, 64))
    def test_the_memory_of_a_series_is_counted(self, pauses: list[int], limit: int) -> None:
        memory = SpoolMemory(0)
        series, at = MarkSeries(limit, memory), 0
        for pause in pauses:
            at += pause
            series.add(at, at, at)
            assert memory.used == MARK_BYTES * len(series)
        series.clear()
        assert memory.used == 0


class TestTimeline:
    def test_the_moments_contain_new_output_of_both_streams(self, clock: list[float]) -> None:
        timeline, stdout, stderr = make()
        for at, spool in ((0.1, stdout), (0.1004, stdout), (0.2, stderr), (0.3, stdout)):
            clock[0] = at
            spool.append(b"abc")
        clock[0] = 0.4
        stdout.finish()
        stderr.finish()
        assert moments_of(timeline) == [
            Moment(100, stdout=3),
            Moment(101, stdout=6),  # rounded up: never early
            Moment(200, stderr=3),
            Moment(300, stdout=9),
        ]

    def test_a_terminals_first_size_is_at_time_zero(self, clock: list[float]) -> None:
        timeline, stdout, _ = make(terminal=SCREEN)
        assert timeline.size == (80, 24)
        clock[0] = 1.5
        timeline.resized(132, 43)
        stdout.append(b"repainted!")
        assert moments_of(timeline) == [Moment(0, size=(80, 24)), Moment(1500, size=(132, 43)), Moment(1500, stdout=10)]
        assert timeline.size == (132, 43)
        assert make()[0].size is None

    def test_typed_input_comes_before_its_echo_and_in_chunks_that_fit_a_mark(self, clock: list[float]) -> None:
        timeline, stdout, _ = make(record_input=True)
        clock[0] = 1.0
        timeline.fed(b"ls\r")
        stdout.append(b"ls\r\n")
        clock[0] = 2.0
        timeline.fed(b"x" * (MAX_STDIN_MARK + 1))
        assert moments_of(timeline) == [
            Moment(1000, stdin=b"ls\r"),
            Moment(1000, stdout=4),
            Moment(2000, stdin=b"x" * MAX_STDIN_MARK),
            Moment(2000, stdin=b"x"),
        ]

    def test_a_mib_of_input_is_recorded_and_the_last_mark_shows_that_more_followed(self, clock: list[float]) -> None:
        memory = SpoolMemory(1 << 30)
        timeline, _, _ = make(memory, record_input=True)
        for at, size in enumerate((MAX_RECORDED_STDIN - 5, 5)):
            clock[0] = at
            timeline.fed(b"k" * size)
        assert sum(len(moment.stdin or b"") for moment in moments_of(timeline)) == MAX_RECORDED_STDIN
        assert not any(moment.cut for moment in moments_of(timeline))
        timeline.fed(b"one more")
        timeline.fed(b"and more")
        assert [moment.cut for moment in moments_of(timeline)][-2:] == [False, True]
        assert memory.used < MAX_RECORDED_STDIN + 1024

    def test_only_moments_up_to_the_given_time_are_returned(self, clock: list[float]) -> None:
        timeline, stdout, _ = make()
        for at in range(1, 6):
            clock[0] = at
            stdout.append(b"x")
        assert [moment.at for moment in moments_of(timeline, until=3000)] == [1000, 2000, 3000]

    @given(
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["out", "err", "size", "type"])), max_size=60),
        st.integers(1, 7),
    )
    def test_reading_in_pages_gives_the_same_as_reading_at_once(self, events: list[tuple[int, str]], page: int) -> None:
        timeline, stdout, stderr = make(terminal=SCREEN, record_input=True)
        for number, (pause, what) in enumerate(events):
            timeline.start -= pause / 1000  # time passes
            if what == "size":
                timeline.resized(number, number)
            elif what == "type":
                timeline.fed(b"%d" % number * MAX_STDIN_MARK)
            else:
                (stdout if what == "out" else stderr).append(b"x")
        until = timeline.now
        whole, paged, position = moments_of(timeline, until=until), list[Moment](), TimelinePosition()
        while found := list(islice(timeline.moments(position, until), page)):
            paged += [moment for moment, _ in found]
            position = found[-1][1]
        assert paged == whole
        assert all(one.at <= other.at for one, other in pairwise(whole))

    def test_a_reader_misses_nothing_and_gets_nothing_twice_while_a_series_is_thinned(self, clock: list[float]) -> None:
        timeline, stdout, _ = make()
        position, offsets, moments = TimelinePosition(), list[int](), list[int]()
        for number in range(1, 4 * MAX_OUTPUT_MARKS):
            clock[0] = number
            stdout.append(b"x")
            if number % 1000 == 0:
                for moment, behind in islice(timeline.moments(position, timeline.now), 300):
                    assert moment.stdout is not None
                    offsets.append(moment.stdout)
                    moments.append(moment.at)
                    position = behind
        for moment, _ in timeline.moments(position, timeline.now):
            assert moment.stdout is not None
            offsets.append(moment.stdout)
            moments.append(moment.at)
        assert offsets[-1] == stdout.end
        for values in (offsets, moments):
            assert all(one < other for one, other in pairwise(values))

    @pytest.mark.parametrize("fields", [{}, {"terminal": SCREEN}, {"record": True}])
    def test_the_memory_of_a_timeline_is_bounded_counted_and_released(
        self, clock: list[float], fields: dict[str, Any]
    ) -> None:
        memory = SpoolMemory(1 << 30)
        timeline, stdout, stderr = make(memory, record_input=True, **fields)
        for number in range(2 * MAX_OUTPUT_MARKS):
            clock[0] = number
            stdout.append(b"x")
            timeline.fed(b"k")
        assert (len(timeline.output) > MAX_OUTPUT_MARKS) == bool(fields), "a terminal's timeline is more precise"
        assert memory.used > stdout.size + MAX_OUTPUT_MARKS * MARK_BYTES / 2
        for spool in (stdout, stderr):
            spool.close()
        timeline.close()
        timeline.fed(b"late")
        assert (memory.used, moments_of(timeline), timeline.gone) == (0, [], True)


async def test_output_without_a_reader_is_dated_too() -> None:
    """With the real clock: the time of a chunk is between the readings before and after its append."""
    timeline, stdout, _ = make()
    timeline.start = asyncio.get_running_loop().time()
    before = timeline.now
    stdout.append(b"x")
    after = timeline.now
    [moment] = moments_of(timeline)
    assert before <= moment.at <= after
