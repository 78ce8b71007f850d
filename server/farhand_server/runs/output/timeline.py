"""When a run's output came, what size its terminal had and what was typed: enough to play it again, within bounds."""

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
from .spool import Spool, SpoolMemory

MAX_OUTPUT_MARKS: Final = 4096
"""Moments of output that are known of a plain run: 96 KiB. Played again, an hour of it is late by 4 s at the most."""

MAX_PRECISE_MARKS: Final = 65_536
"""The same of a run with a terminal, or one that has to be recorded: 1.5 MiB, and 2 s for a
working day in which it never fell silent."""

MAX_SIZE_MARKS: Final = 4096
"""Sizes of a terminal: a window is seldom resized more than some hundred times, and a storm is told less exactly."""

MAX_RECORDED_STDIN: Final = 1 << 20
"""Bytes of stdin that are recorded: more than anybody types in a month. What is piped in is somewhere else already."""

MAX_STDIN_MARK: Final = 1024
"""Bytes of stdin in one moment, at most: what one mark on the wire may have."""

MARK_BYTES: Final = 24
"""Bytes of memory for one: three numbers."""


class MarkSeries:
    """Moments in milliseconds, in their order, each with two numbers that hold from then on.

    There are at most `limit`, 2 or more. Those within one `step` of time count as the last of them, so that nothing
    ever seems to have been before it was. The step grows where there are too many: to 4 / `limit` of all the time at
    the most.
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
        """From `at` on, which is not before the last moment, the numbers are these."""
        if at < self._until:
            self.at[-1], self.first[-1], self.second[-1] = at, first, second
            return
        self.at.append(at)
        self.first.append(first)
        self.second.append(second)
        self._memory.used += MARK_BYTES
        self._until = at - at % self.step + self.step
        if len(self.at) > self._limit:
            self._thin()

    def dump(self) -> list[bytes]:
        """Return all there is, for `resume`."""
        return [self.at.tobytes(), self.first.tobytes(), self.second.tobytes()]

    def resume(self, step: int, dump: bytes) -> None:
        """Go on with what another has kept, in place of what there is."""
        self.clear()
        self.step = step
        size = len(dump) // 3
        for column, begin in ((self.at, 0), (self.first, size), (self.second, 2 * size)):
            column.frombytes(dump[begin : begin + size])
        self._memory.used += MARK_BYTES * len(self)
        self._until = self.at[-1] - self.at[-1] % step + step if self.at else 0

    def clear(self) -> None:
        """Forget everything."""
        self._memory.used -= MARK_BYTES * len(self)
        for column in (self.at, self.first, self.second):
            del column[:]
        self._until = 0

    def _thin(self) -> None:
        """Lengthen the step until half of the moments are enough: that is done once in a while, and less and less."""
        before = len(self)
        gaps = sorted(map(sub, self.at[1:], self.at))
        step = max(2 * self.step, gaps[len(gaps) // 2] + 1)  # a shorter one leaves more than half
        while sum(last := self._last_ones(step)) > self._limit // 2:
            step *= 2
        self.step = step
        self.at, self.first, self.second = (
            array("Q", compress(column, last)) for column in (self.at, self.first, self.second)
        )
        self._memory.used -= MARK_BYTES * (before - len(self))
        self._until = self.at[-1] - self.at[-1] % step + step

    def _last_ones(self, step: int) -> list[bool]:
        """Return of each moment whether it is the last of its step."""
        steps = list(map(floordiv, self.at, repeat(step)))  # all of it without a line of Python for each: 10 ms
        return [*map(ne, steps, steps[1:]), True]


@dataclass(frozen=True, slots=True)
class Moment:
    """What there was `at` milliseconds after the start of the run, where that is new: output up to offsets, a size in
    columns and rows, stdin; with `cut` that is the last that is recorded of it, though more came."""

    at: int
    stdout: int | None = None
    stderr: int | None = None
    size: tuple[int, int] | None = None
    stdin: bytes | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class TimelinePosition:
    """How far somebody has a timeline: milliseconds of the last output and size, and the bytes of stdin."""

    output: int = -1
    size: int = -1
    stdin: int = 0


class Timeline:
    """Listens to the spools of a run that begins at `start` on the monotonic clock. What it keeps counts as memory for
    output."""

    def __init__(self, plan: Plan, start: float, stdout: Spool, stderr: Spool, memory: SpoolMemory) -> None:
        precise = plan.terminal is not None or plan.record
        self.start = start
        self.output = MarkSeries(MAX_PRECISE_MARKS if precise else MAX_OUTPUT_MARKS, memory)
        self.sizes = self.typed_at = _NONE
        self.typed = bytearray()
        self.cut = False
        self.gone = False
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

    @property
    def now(self) -> int:
        """Whole milliseconds since the start, and what is begun of one."""
        return ceil((time.monotonic() - self.start) * 1000)

    @property
    def size(self) -> tuple[int, int] | None:
        """Columns and rows of the terminal; None where there is none."""
        return (self.sizes.first[-1], self.sizes.second[-1]) if self.sizes else None

    def resized(self, columns: int, rows: int) -> None:
        """The terminal of a run that has one has another size from now on."""
        self.sizes.add(self.now, columns, rows)

    def fed(self, data: bytes) -> None:
        """The program of a run that records it is given `data` as stdin."""
        if self.gone:
            return
        kept = data[: MAX_RECORDED_STDIN - len(self.typed)]
        self.cut = self.cut or len(kept) < len(data)
        if kept:
            self.typed += kept
            self._memory.used += len(kept)
            self.typed_at.add(self.now, len(self.typed), 0)

    def moments(self, after: TimelinePosition, until: int) -> Iterator[tuple[Moment, TimelinePosition]]:
        """Yield what comes behind a place, up to `until` in milliseconds, each with the place behind it."""
        sizes, typed, output = self.sizes, self.typed_at, self.output
        size, written = bisect_right(sizes.at, after.size), bisect_right(output.at, after.output)
        piece = bisect_right(typed.first, after.stdin)
        place = after
        while True:
            # A size is there before what is drawn in it, and a key before its echo.
            at = min(_at(sizes, size), _at(typed, piece), _at(output, written))
            if at > until:
                return
            if at == _at(sizes, size):
                place = replace(place, size=at)
                yield Moment(at, size=(sizes.first[size], sizes.second[size])), place
                size += 1
            elif at == _at(typed, piece):
                end = min(typed.first[piece], place.stdin + MAX_STDIN_MARK)
                data = bytes(self.typed[place.stdin : end])
                place = replace(place, stdin=end)
                yield Moment(at, stdin=data, cut=self.cut and end == len(self.typed)), place
                piece += end == typed.first[piece]
            else:
                place = replace(place, output=at)
                yield self._written_at(written), place
                written += 1

    def close(self) -> None:
        """Forget everything: the run is over, and its output is kept no more."""
        self.gone = True
        for series in (self.output, self.sizes, self.typed_at):
            series.clear()
        self._memory.used -= len(self.typed)
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
        """A stream has more, or its end."""
        stdout, stderr = self._stdout.end, self._stderr.end
        if stdout + stderr != self._written:
            self._written = stdout + stderr
            self.output.add(ceil((time.monotonic() - self.start) * 1000), stdout, stderr)


_NEVER: Final = 1 << 63
_NONE: Final = MarkSeries(0, SpoolMemory(0))
"""Of runs that have no terminal, or do not record stdin: nothing is ever added."""


def _at(series: MarkSeries, number: int) -> int:
    return series.at[number] if number < len(series.at) else _NEVER
