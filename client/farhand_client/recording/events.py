"""What happened in a run: joins when something came, which is marks, with what it was, which is bytes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from farhand_client.output import Gap, Output
from farhand_protocol.limits import KiB
from farhand_protocol.messages.terminal import OutputMark

PIECE: Final = 64 * KiB
"""Bytes in one event, at most."""


class Written(NamedTuple):
    """The program wrote `data`. As in all events, `at` is in seconds, and none is before the one it follows."""

    at: float
    stream: Output
    data: bytes


class Typed(NamedTuple):
    """The program was given `data`; with `cut` more, which is not recorded."""

    at: float
    data: bytes
    cut: bool


class Resized(NamedTuple):
    """The terminal has this size from now on."""

    at: float
    columns: int
    rows: int


class Missing(NamedTuple):
    """Output that was here is no longer kept."""

    at: float
    gap: Gap


Event: TypeAlias = Written | Typed | Resized | Missing


class Wanted(NamedTuple):
    """Not an event: up to `size` bytes of `stream` are needed to go on. Call `Events.fed` with them."""

    stream: Output
    size: int


class Events:
    """What happened in a run, in order: iterate, and where that gives a `Wanted`, feed before going on.

    `marks` are those of the run, got before its output, which begins at the first byte of each of `streams`. What has
    no mark came after all that has one. What was before the first bytes that are kept takes no time: where they are not
    the run's first, the recording begins with them, `origin` seconds after the run did.
    """

    def __init__(self, marks: Iterable[OutputMark], streams: Iterable[Output]) -> None:
        self.origin = 0.0
        self._marks = marks
        self._tracks = {stream: _Track() for stream in streams}
        self._lost = False
        self._begun = False

    def fed(self, stream: Output, data: bytes) -> None:
        """These are the next bytes of a stream, behind the gaps that were told before; b"" at its end."""
        track = self._tracks[stream]
        track.held = data
        track.ended = not data

    def gap(self, gap: Gap) -> None:
        """Bytes are missing before those that come next."""
        self._tracks[gap.stream].gaps.append(gap)

    def __iter__(self) -> Iterator[Event | Wanted]:
        at = 0.0
        for mark in self._marks:
            at = max(at, mark.at / 1000)
            if mark.size is not None:
                yield Resized(self._time(at), mark.size.columns, mark.size.rows)
            if mark.stdin is not None:
                yield Typed(self._time(at), mark.stdin, bool(mark.cut))
            yield from self._up_to("stdout", mark.stdout or 0, at)
            yield from self._up_to("stderr", mark.stderr or 0, at)
        for stream in self._tracks:
            yield from self._up_to(stream, math.inf, at)

    def _up_to(self, stream: Output, end: float, at: float) -> Iterator[Event | Wanted]:
        track = self._tracks.get(stream)
        while track is not None and track.offset < end:
            if track.gaps:
                gap = track.gaps.popleft()
                track.offset = gap.offset + gap.bytes
                self._lost = self._lost or not self._begun
                yield Missing(self._time(at), gap)
            elif track.held:
                data = track.take(min(PIECE, end - track.offset))
                if not self._begun:
                    self._begun = True
                    self.origin = at if self._lost else 0.0
                yield Written(self._time(at), stream, data)
            elif track.ended:
                return
            else:
                yield Wanted(stream, int(min(PIECE, end - track.offset)))

    def _time(self, at: float) -> float:
        if self._lost and not self._begun:
            return 0.0
        return at - self.origin


class _Track:
    """How far a stream is."""

    def __init__(self) -> None:
        self.offset = 0
        self.held = b""
        self.gaps: deque[Gap] = deque()
        self.ended = False

    def take(self, size: float) -> bytes:
        """Return the next bytes."""
        data, self.held = self.held[: int(size)], self.held[int(size) :]
        self.offset += len(data)
        return data
