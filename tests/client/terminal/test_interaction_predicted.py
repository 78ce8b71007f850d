"""Typed characters on the local terminal before the program has echoed them, beside output, notices and suspension."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client.config import PredictMode
from farhand_client.terminal.interaction import Interaction, InteractionResult
from farhand_client.terminal.round_trips import SLOW
from tests.support.fake_service import FakeRun
from tests.support.fake_terminals import begin
from tests.support.interactions import interacting
from tests.support.ptys import TIMEOUT, Pty, terminal

PROMPT = b"\x1b[?2004h$ "
UNDERLINED = b"\x1b[0;4m%b\x1b[m"


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


class Program:
    """A program that echoes only when it is told to."""

    def __init__(self) -> None:
        self._run: asyncio.Future[FakeRun] = asyncio.get_running_loop().create_future()

    async def behave(self, run: FakeRun) -> None:
        await begin(run)
        await run.write("stdout", PROMPT)
        self._run.set_result(run)
        await run.client.closed.wait()

    async def echoes(self, typed: bytes) -> None:
        """Echo what was typed last, once it has arrived."""
        run = await self._run
        async with asyncio.timeout(TIMEOUT):
            while not run.stdin.endswith(typed):
                run.changed.clear()
                await run.changed.wait()
        await run.write("stdout", typed)

    async def writes(self, output: bytes) -> None:
        await (await self._run).write("stdout", output)

    async def ends(self) -> None:
        (await self._run).ended()


@contextlib.asynccontextmanager
async def predicting(
    tmp_path: Path, pty: Pty, predict: PredictMode, round_trip: float = 0.2
) -> AsyncIterator[tuple[Program, Interaction, asyncio.Future[InteractionResult]]]:
    """Show a program whose echo is already known, as `$ a`, to a client that takes `round_trip` for the time of a
    ping."""
    program, answered, answering = Program(), asyncio.Event(), asyncio.Event()
    answering.set()
    async with interacting(tmp_path, pty, program.behave) as (client, _, run, _, local):

        async def ping() -> float:
            await client.ping()
            await answering.wait()
            answered.set()
            return round_trip

        interaction = Interaction(run, local, ping=ping, predict=predict)
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(PROMPT)
        await client.ping()  # after the first measurement
        answered.clear()
        pty.type(b"a")
        await program.echoes(b"a")
        await pty.shows(b"a")
        if predict == "always" or (predict == "auto" and round_trip >= SLOW):
            async with asyncio.timeout(TIMEOUT):
                await answered.wait()
        answering.clear()  # so that no guess is judged
        yield program, interaction, shown
        await program.ends()
        await shown


@pytest.mark.parametrize(("predict", "round_trip"), [("auto", 0.2), ("always", 0.0)])
async def test_typed_characters_are_shown_before_their_echo(
    tmp_path: Path, pty: Pty, predict: PredictMode, round_trip: float
) -> None:
    async with predicting(tmp_path, pty, predict, round_trip) as (program, _, _):
        pty.type(b"b")
        await pty.shows(UNDERLINED % b"b")
        await program.writes(b"b\r\n")
        await pty.shows(b"\b\x1b[Xb\r\n")


@pytest.mark.parametrize(("predict", "round_trip"), [("auto", 0.001), ("never", 0.2)])
async def test_a_quick_connection_and_the_user_can_leave_it_off(
    tmp_path: Path, pty: Pty, predict: PredictMode, round_trip: float
) -> None:
    async with predicting(tmp_path, pty, predict, round_trip) as (program, _, _):
        for key in (b"b", b"c", b"d"):
            pty.type(key)
            await program.echoes(key)
            assert await pty.shows(key) == b""


async def test_a_notice_takes_the_place_of_what_is_predicted(tmp_path: Path, pty: Pty) -> None:
    async with predicting(tmp_path, pty, "always") as (_, interaction, _):
        pty.type(b"b")
        await pty.shows(UNDERLINED % b"b")
        interaction.set_notice("connection lost")
        assert b"\b\x1b[X" in await pty.shows(b"connection lost")
        interaction.set_notice(None)
        await pty.shows(UNDERLINED % b"b")


async def test_leaving_takes_back_what_is_predicted(tmp_path: Path, pty: Pty) -> None:
    async with predicting(tmp_path, pty, "always") as (_, _, shown):
        pty.type(b"b")
        await pty.shows(UNDERLINED % b"b")
        pty.type(b"\r~d")
        assert await shown is InteractionResult.DETACHED
        await pty.shows(b"\b\x1b[X\x1b[?2004l")
