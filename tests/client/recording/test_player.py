"""A recording is played in its order, at its pace, and stands still when it is told to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

from farhand_client.output import Gap, Output
from farhand_client.recording.events import GapEvent, InputEvent, OutputEvent, RecordedEvent, ResizeEvent
from farhand_client.recording.player import Player


class Stage:
    def __init__(self) -> None:
        self.seen: list[object] = []
        self.times: list[float] = []
        self.player: Player | None = None
        self.paused = asyncio.Event()

    async def write(self, stream: Output, data: bytes) -> None:
        self.seen.append((stream, data))
        self.times.append(asyncio.get_running_loop().time())
        if self.player is not None and data == b"pause":
            self.player.pause()
            self.paused.set()

    def set_size(self, columns: int, rows: int) -> None:
        self.seen.append((columns, rows))

    def report_gap(self, gap: Gap) -> None:
        self.seen.append(gap)


async def given(*events: RecordedEvent) -> AsyncGenerator[RecordedEvent]:
    for event in events:
        yield event


async def test_everything_is_shown_in_its_order() -> None:
    stage, gap = Stage(), Gap("stdout", 1, 2)
    events = given(
        ResizeEvent(0.0, 80, 24),
        OutputEvent(0.0, "stdout", b"a"),
        InputEvent(1.0, b"not shown", False),
        GapEvent(1.0, gap),
        OutputEvent(2.0, "stderr", b"b"),
    )
    await Player(stage, speed=1000, idle_limit=math.inf).play(events)
    assert stage.seen == [(80, 24), ("stdout", b"a"), gap, ("stderr", b"b")]


async def test_the_pauses_are_those_of_the_recording() -> None:
    stage = Stage()
    events = given(*(OutputEvent(at, "stdout", b"x") for at in (0.0, 1.0, 1.0, 100.0)))
    await Player(stage, speed=10, idle_limit=2.0).play(events)
    first, second, third, last = stage.times
    # Later it may be, on a machine with much to do; never earlier.
    assert second - first >= 0.1
    assert last - first >= 0.3
    assert last - third < 9


async def test_it_stands_still_until_it_is_to_go_on() -> None:
    stage = Stage()
    player = stage.player = Player(stage, speed=1000, idle_limit=math.inf)
    events = given(OutputEvent(0.0, "stdout", b"pause"), OutputEvent(1.0, "stdout", b"x"))
    playing = asyncio.create_task(player.play(events))
    await stage.paused.wait()
    # As long as the rest would have taken, many times over.
    await asyncio.wait([playing], timeout=0.1)
    assert stage.seen == [("stdout", b"pause")]
    player.resume()
    await playing
    assert stage.seen == [("stdout", b"pause"), ("stdout", b"x")]


async def test_it_can_be_told_while_it_waits() -> None:
    stage = Stage()
    player = Player(stage, speed=1.0, idle_limit=math.inf)
    playing = asyncio.create_task(player.play(given(OutputEvent(0.05, "stdout", b"x"))))
    await asyncio.sleep(0)
    player.pause()
    await asyncio.wait([playing], timeout=0.1)
    assert stage.seen == []
    player.resume()
    await playing
    assert stage.seen == [("stdout", b"x")]
