"""A recording is played in order, at its pace, and can be paused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

import pytest

from farhand_client.output import Gap, Output
from farhand_client.recording.events import GapEvent, InputEvent, OutputEvent, RecordedEvent, ResizeEvent
from farhand_client.recording.player import Player
from tests.support.clock import virtual_time


class Target:
    """Records what is played, and when."""

    def __init__(self) -> None:
        self.played: list[object] = []
        self.times: list[float] = []
        self.began = asyncio.get_running_loop().time()

    async def write(self, stream: Output, data: bytes) -> None:
        self.played.append((stream, data))
        self.times.append(asyncio.get_running_loop().time() - self.began)

    def set_size(self, columns: int, rows: int) -> None:
        self.played.append((columns, rows))

    def report_gap(self, gap: Gap) -> None:
        self.played.append(gap)


async def given(*events: RecordedEvent) -> AsyncGenerator[RecordedEvent]:
    for event in events:
        yield event


@virtual_time
async def test_everything_is_played_in_order() -> None:
    target, gap = Target(), Gap("stdout", 1, 2)
    events = given(
        ResizeEvent(0.0, 80, 24),
        OutputEvent(0.0, "stdout", b"a"),
        InputEvent(1.0, b"not shown", False),
        GapEvent(1.0, gap),
        OutputEvent(2.0, "stderr", b"b"),
    )
    await Player(target, speed=1.0, idle_limit=math.inf).play(events)
    assert target.played == [(80, 24), ("stdout", b"a"), gap, ("stderr", b"b")]


@virtual_time
async def test_pauses_are_those_of_the_recording_within_the_limit() -> None:
    target = Target()
    events = given(*(OutputEvent(at, "stdout", b"x") for at in (0.0, 1.0, 1.0, 100.0)))
    await Player(target, speed=10, idle_limit=2.0).play(events)
    assert target.times == pytest.approx([0.0, 0.1, 0.1, 0.3])


@virtual_time
async def test_a_paused_player_plays_nothing_until_it_is_resumed() -> None:
    target = Target()
    player = Player(target, speed=1.0, idle_limit=math.inf)
    playing = asyncio.create_task(player.play(given(OutputEvent(5.0, "stdout", b"x"))))
    await asyncio.sleep(3.0)
    player.pause()
    paused = [player.paused]
    await asyncio.sleep(1000.0)
    assert target.played == []
    player.resume()
    paused.append(player.paused)
    await playing
    assert paused == [True, False]
    assert target.times == pytest.approx([1005.0])
