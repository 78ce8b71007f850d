"""Plays a recording with the pauses it was made with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import Protocol

from farhand_client.output import Gap, Output

from .events import Event, Missing, Resized, Written
from .pace import Pace


class Stage(Protocol):
    """Where a recording is played."""

    async def write(self, stream: Output, data: bytes) -> None:
        """Show output; return once that is done."""

    def sized(self, columns: int, rows: int) -> None:
        """The terminal that the program had has this size from now on."""

    def missing(self, gap: Gap) -> None:
        """Output that was here is no longer kept."""


class Player:
    """Plays at `speed` times the original one (above 0), with no pause longer than `idle_limit` seconds."""

    def __init__(self, stage: Stage, speed: float, idle_limit: float) -> None:
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(self._loop.time(), speed, idle_limit)
        self._changed = asyncio.Event()

    async def play(self, events: AsyncIterable[Event]) -> None:
        """Return once all was shown."""
        async for event in events:
            self._pace.next(event.at)
            await self._wait()
            match event:
                case Written():
                    await self._stage.write(event.stream, event.data)
                case Resized():
                    self._stage.sized(event.columns, event.rows)
                case Missing():
                    self._stage.missing(event.gap)

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._pace.paused

    def pause(self) -> None:
        """Stand still until `resume`."""
        self._pace.pause(self._loop.time())
        self._changed.set()

    def resume(self) -> None:
        """Go on."""
        self._pace.resume(self._loop.time())
        self._changed.set()

    async def _wait(self) -> None:
        while (left := self._pace.left(self._loop.time())) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if self.paused else left):
                    await self._changed.wait()
            except TimeoutError:
                return
