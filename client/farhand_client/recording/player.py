"""Plays a recording at the recorded pace: when each event is due, and the loop that waits for it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable
from typing import Protocol

from farhand_client.output import Gap, Output

from .events import GapEvent, OutputEvent, RecordedEvent, ResizeEvent


class PlaybackClock:
    """Computes when events are due, without reading a clock itself.

    It starts at `now`, in seconds of any clock that never goes back. Playback is `speed` times as fast (above 0); no
    pause is longer than `idle_limit` seconds of the recording (0 or more).
    """

    def __init__(self, now: float, speed: float = 1.0, idle_limit: float = math.inf) -> None:
        self._due = now
        self._at = 0.0
        self._speed = speed
        self._idle_limit = idle_limit
        self._paused_at: float | None = None

    @property
    def paused(self) -> bool:
        """Whether playback is paused."""
        return self._paused_at is not None

    def set_next(self, at: float) -> None:
        """Set the time of the next event, in seconds of the recording."""
        self._due += min(max(0.0, at - self._at), self._idle_limit) / self._speed
        self._at = max(self._at, at)

    def remaining(self, now: float) -> float:
        """Return the seconds from `now` until the next event is due; infinity while paused."""
        return math.inf if self.paused else self._due - now

    def pause(self, now: float) -> None:
        """Pause at `now`."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Continue at `now`; everything is due later by the length of the pause."""
        if self._paused_at is not None:
            self._due += now - self._paused_at
            self._paused_at = None


class PlaybackTarget(Protocol):
    """Where a recording is played."""

    async def write(self, stream: Output, data: bytes) -> None:
        """Show output; return once it is written."""

    def set_size(self, columns: int, rows: int) -> None:
        """Note that the recorded terminal has this size from now on."""

    def report_gap(self, gap: Gap) -> None:
        """Note that output that was here is no longer available."""


class Player:
    """Plays at `speed` times the original pace (above 0), with no pause longer than `idle_limit` seconds."""

    def __init__(self, target: PlaybackTarget, speed: float, idle_limit: float) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._clock = PlaybackClock(self._loop.time(), speed, idle_limit)
        self._changed = asyncio.Event()

    async def play(self, events: AsyncIterable[RecordedEvent]) -> None:
        """Play all events."""
        async for event in events:
            self._clock.set_next(event.at)
            await self._wait()
            match event:
                case OutputEvent():
                    await self._target.write(event.stream, event.data)
                case ResizeEvent():
                    self._target.set_size(event.columns, event.rows)
                case GapEvent():
                    self._target.report_gap(event.gap)

    @property
    def paused(self) -> bool:
        """Whether playback is paused."""
        return self._clock.paused

    def pause(self) -> None:
        """Pause until `resume`."""
        self._clock.pause(self._loop.time())
        self._changed.set()

    def resume(self) -> None:
        """Continue after `pause`."""
        self._clock.resume(self._loop.time())
        self._changed.set()

    async def _wait(self) -> None:
        while (remaining := self._clock.remaining(self._loop.time())) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self.paused else remaining):
                    await self._changed.wait()
            except TimeoutError:
                return
