"""Sizes of the local terminal and of other clients: what is reported, and to whom."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client.terminal import interaction as module
from farhand_client.terminal.input import RESIZE_INTERVAL
from farhand_client.terminal.interaction import InteractionResult
from farhand_protocol import messages as m
from tests.support.interactions import interacting
from tests.support.ptys import Pty, terminal


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


async def test_a_storm_of_sizes_reaches_the_service_as_few_with_the_last_one(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        start_time = time.monotonic()
        for columns in range(150, 200):
            pty.resize(columns, 30)
            os.kill(os.getpid(), signal.SIGWINCH)
            await asyncio.sleep(0.004)
        async with asyncio.timeout(10):
            while m.Resize(columns=199, rows=30) not in service.runs[0].messages:
                service.runs[0].changed.clear()
                await service.runs[0].changed.wait()
        assert len(service.runs[0].messages) < (time.monotonic() - start_time) / RESIZE_INTERVAL + 3
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (500, 300)])
async def test_any_size_works(columns: int, rows: int, tmp_path: Path, pty: Pty) -> None:
    pty.resize(columns, rows)
    async with interacting(tmp_path, pty) as (_, _, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        interaction.set_notice("connection lost")
        interaction.add_notice("a note")
        interaction.set_notice(None)
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


@pytest.mark.parametrize(
    ("columns", "rows", "notice"),
    [
        (40, 10, b"another client limits the terminal to 40x10"),
        (200, 24, b"the terminal is 200x24, larger than this one: part of it is not visible"),
    ],
)
async def test_a_size_that_differs_from_ours_is_reported(
    tmp_path: Path, pty: Pty, monkeypatch: pytest.MonkeyPatch, columns: int, rows: int, notice: bytes
) -> None:
    monkeypatch.setattr(module, "SIZE_NOTICE_DELAY", 0.01)
    async with interacting(tmp_path, pty) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.runs[0].send(m.Resize(columns=columns, rows=rows))
        await pty.shows(notice)
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


async def test_an_unknown_size_is_ignored(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.runs[0].send(m.Resize(columns=0, rows=0))
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


async def test_the_confirmation_of_an_earlier_size_is_not_reported(
    tmp_path: Path, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIZE_NOTICE_DELAY", 0.1)
    async with interacting(tmp_path, pty) as (client, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.resize(100, 30)
        os.kill(os.getpid(), signal.SIGWINCH)
        reported = await service.runs[0].until(m.Resize)
        service.runs[0].send(m.Resize(columns=80, rows=24))
        service.runs[0].send(reported)
        await client.ping()
        await asyncio.sleep(0.15)  # the timer of the notice is due before this one
        assert b"another client" not in pty.shown
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED
