"""Records when a run's output arrived, which sizes its terminal had, and what was typed: enough for a replay, within
bounds."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import compress, repeat
from math import ceil
from operator import floordiv, ne, sub
from typing import Final

from ..plan import Plan
from ..snapshots import Blob, Get, Put, SnapshotRecord
from .spool import Spool, SpoolMemory

MAX_OUTPUT_MARKS: Final = 4096
"""Moments of output that are recorded for a plain run: 96 KiB. In a replay of an hour, output is at most 4 s late."""

MAX_PRECISE_MARKS: Final = 65_536
"""The same for a run that has a terminal or must be recorded: 1.5 MiB. After a working day of continuous output, output
is at most 2 s late."""

MAX_SIZE_MARKS: Final = 4096
"""Terminal sizes that are recorded: a window is rarely resized more than a few hundred times, and a burst of resizes is
recorded less exactly."""

MAX_RECORDED_STDIN: Final = 1 << 20
"""Bytes of stdin that are recorded: more than anybody types in a month. Piped input already exists elsewhere."""

MAX_STDIN_MARK: Final = 1024
"""Bytes of stdin in one moment: the most that one mark on the wire may hold."""

MARK_BYTES: Final = 24
"""Bytes of memory for one moment: three numbers."""


class SeriesSnapshot(SnapshotRecord):
    """The state of a `MarkSeries`. `dump` holds its three columns one after the other."""

    step: int
    dump: Blob


class MarkSeries:
    """Moments in milliseconds, in order, each with two numbers that hold from then on.

    There are at most `limit` moments; `limit` is 2 or more. Only the last moment within each `step` of time is kept, so
    nothing ever seems to have happened earlier than it did. The step grows when there are too many moments, up to 4 /
    `limit` of the whole time.
    """

    __slots__ = ("_limit", "_memory", "_until", "at", "first", "second", "step")

    def __init__(self, limit: int, memory: SpoolMemory) -> None:
        self.step = 1
        self.at = array("Q")
        self.first = array("Q")
        self.second = array("Q")
        self._limit = limit
        self._memory = memory
        self._until = 0

    def __len__(self) -> int:
        return len(self.at)

    def add(self, at: int, first: int, second: int) -> None:
        """Record that these numbers hold from `at` on. `at` must not be earlier than the last moment."""
        if at < self._until:
            self.at[-1], self.first[-1], self.second[-1] = at, first, second
            return
        self.at.append(at)
        self.first.append(first)
        self.second.append(second)
        self._memory.take(MARK_BYTES)
        self._until = at - at % self.step + self.step
        if len(self.at) > self._limit:
            self._thin()

    def snapshot(self, put: Put) -> SeriesSnapshot:
        """Return the state for `restore`."""
        dump = put([self.at.tobytes(), self.first.tobytes(), self.second.tobytes()])
        return SeriesSnapshot(step=self.step, dump=dump)

    def restore(self, snapshot: SeriesSnapshot, get: Get) -> None:
        """Replace all moments with those of a snapshot. Raises OSError."""
        self.clear()
        self.step = step = snapshot.step
        dump = get(snapshot.dump)
        size = len(dump) // 3
        for column, begin in ((self.at, 0), (self.first, size), (self.second, 2 * size)):
            column.frombytes(dump[begin : begin + size])
        self._memory.take(MARK_BYTES * len(self))
        self._until = self.at[-1] - self.at[-1] % step + step if self.at else 0

    def clear(self) -> None:
        """Delete all moments."""
        if not self.at:
            return
        self._memory.take(-MARK_BYTES * len(self))
        for column in (self.at, self.first, self.second):
            del column[:]
        self._until = 0

    def _thin(self) -> None:
        """Lengthen the step until no more than half of the moments are left. This is needed less and less often."""
        before = len(self)
        gaps = sorted(map(sub, self.at[1:], self.at))
        step = max(2 * self.step, gaps[len(gaps) // 2] + 1)  # a shorter step leaves more than half of the moments
        while sum(last := self._last_of_steps(step)) > self._limit // 2:
            step *= 2
        self.step = step
        self.at, self.first, self.second = (
            array("Q", compress(column, last)) for column in (self.at, self.first, self.second)
        )
        self._memory.take(MARK_BYTES * (len(self) - before))
        self._until = self.at[-1] - self.at[-1] % step + step

    def _last_of_steps(self, step: int) -> list[bool]:
        """Return, for each moment, whether it is the last in its step."""
        steps = list(map(floordiv, self.at, repeat(step)))  # no Python code runs for each moment: 10 ms in all
        return [*map(ne, steps, steps[1:]), True]


@dataclass(frozen=True, slots=True)
class Moment:
    """What changed `at` milliseconds after the start of the run: the ends of the streams, the terminal's size in
    columns and rows, or stdin. With `cut`, this is the last recorded stdin, although more arrived."""

    at: int
    stdout: int | None = None
    stderr: int | None = None
    size: tuple[int, int] | None = None
    stdin: bytes | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class TimelinePosition:
    """How far a reader has read a timeline: the milliseconds of the last output and size, and the number of bytes of
    stdin."""

    output: int = -1
    size: int = -1
    stdin: int = 0


class TimelineSnapshot(SnapshotRecord):
    """The state of a `Timeline`."""

    output: SeriesSnapshot
    sizes: SeriesSnapshot | None
    typed_at: SeriesSnapshot | None
    typed: Blob
    cut: bool


class Timeline:
    """Records a run that began at `start` on the monotonic clock, by listening to its spools. It uses the spools'
    memory."""

    def __init__(self, plan: Plan, start: float, stdout: Spool, stderr: Spool, memory: SpoolMemory) -> None:
        precise = plan.terminal is not None or plan.record
        self.start = start
        self.output = MarkSeries(MAX_PRECISE_MARKS if precise else MAX_OUTPUT_MARKS, memory)
        self.sizes = self.typed_at = _EMPTY
        self.typed = bytearray()
        self.cut = False
        self.gone = False
        """Whether the run is over and its records have been deleted."""
        self._stdout = stdout
        self._stderr = stderr
        self._written = stdout.end + stderr.end
        self._memory = memory
        if plan.terminal is not None:
            self.sizes = MarkSeries(MAX_SIZE_MARKS, memory)
            self.sizes.add(0, plan.terminal.columns, plan.terminal.rows)
        if plan.record_input:
            self.typed_at = MarkSeries(MAX_PRECISE_MARKS, memory)
        for spool in (stdout, stderr):
            spool.listeners.append(self._grown)

    def snapshot(self, put: Put) -> TimelineSnapshot:
        """Return the state for `restore`."""
        return TimelineSnapshot(
            output=self.output.snapshot(put),
            sizes=self.sizes.snapshot(put) if self.sizes else None,
            typed_at=self.typed_at.snapshot(put) if self.typed_at else None,
            typed=put([bytes(self.typed)]),
            cut=self.cut,
        )

    def restore(self, snapshot: TimelineSnapshot, get: Get) -> None:
        """Replace all records with a snapshot of a run with the same plan. Raises OSError."""
        self.output.restore(snapshot.output, get)
        if snapshot.sizes is not None:
            self.sizes.restore(snapshot.sizes, get)
        if snapshot.typed_at is not None:
            self.typed_at.restore(snapshot.typed_at, get)
        self.typed += get(snapshot.typed)
        self.cut = snapshot.cut
        self._memory.take(len(self.typed))

    @property
    def now(self) -> int:
        """Milliseconds since the start, rounded up."""
        return ceil((time.monotonic() - self.start) * 1000)

    @property
    def size(self) -> tuple[int, int] | None:
        """Columns and rows of the terminal; None if there is none."""
        return (self.sizes.first[-1], self.sizes.second[-1]) if self.sizes else None

    def resized(self, columns: int, rows: int) -> None:
        """Record a new terminal size. Only for a run that has a terminal."""
        self.sizes.add(self.now, columns, rows)

    def fed(self, data: bytes) -> None:
        """Record stdin passed to the program. Only for a run whose plan asks for it."""
        if self.gone:
            return
        kept = data[: MAX_RECORDED_STDIN - len(self.typed)]
        self.cut = self.cut or len(kept) < len(data)
        if kept:
            self.typed += kept
            self._memory.take(len(kept))
            self.typed_at.add(self.now, len(self.typed), 0)

    def moments(self, after: TimelinePosition, until: int) -> Iterator[tuple[Moment, TimelinePosition]]:
        """Yield the moments after a position, up to `until` in milliseconds, each with the position after it."""
        sizes, typed, output = self.sizes, self.typed_at, self.output
        size, written = bisect_right(sizes.at, after.size), bisect_right(output.at, after.output)
        keys = bisect_right(typed.first, after.stdin)
        position = after
        while True:
            # At the same time, a size comes before what is drawn in it, and a key before its echo.
            at = min(_at(sizes, size), _at(typed, keys), _at(output, written))
            if at > until:
                return
            if at == _at(sizes, size):
                position = replace(position, size=at)
                yield Moment(at, size=(sizes.first[size], sizes.second[size])), position
                size += 1
            elif at == _at(typed, keys):
                end = min(typed.first[keys], position.stdin + MAX_STDIN_MARK)
                data = bytes(self.typed[position.stdin : end])
                position = replace(position, stdin=end)
                yield Moment(at, stdin=data, cut=self.cut and end == len(self.typed)), position
                keys += end == typed.first[keys]
            else:
                position = replace(position, output=at)
                yield self._written_at(written), position
                written += 1

    def close(self) -> None:
        """Delete everything, because the run is over and its output is no longer kept."""
        self.gone = True
        for series in (self.output, self.sizes, self.typed_at):
            series.clear()
        if self.typed:
            self._memory.take(-len(self.typed))
            self.typed.clear()

    def _written_at(self, number: int) -> Moment:
        output = self.output
        stdout, stderr = output.first[number], output.second[number]
        before = (output.first[number - 1], output.second[number - 1]) if number else (0, 0)
        return Moment(
            output.at[number],
            stdout=stdout if stdout != before[0] else None,
            stderr=stderr if stderr != before[1] else None,
        )

    def _grown(self) -> None:
        # Called for new output and for the end of a stream.
        stdout, stderr = self._stdout.end, self._stderr.end
        if stdout + stderr != self._written:
            self._written = stdout + stderr
            self.output.add(ceil((time.monotonic() - self.start) * 1000), stdout, stderr)


_NEVER: Final = 1 << 63
_EMPTY: Final = MarkSeries(0, SpoolMemory(0))
"""Shared by all runs that have no terminal or do not record stdin. Nothing is ever added to it."""


def _at(series: MarkSeries, number: int) -> int:
    return series.at[number] if number < len(series.at) else _NEVER
