"""Attaching to a run that already has a screen: it is painted, and its output is not replayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client import TerminalRequest, WindowSize
from farhand_client.terminal.interaction import Interaction, InteractionResult
from farhand_client.terminal.local import LocalTerminal
from farhand_protocol import messages as m
from farhand_protocol.limits import KiB
from tests.support.fake_service import FakeRun, client_of
from tests.support.interactions import interacting
from tests.support.ptys import Pty, terminal


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


async def old(run: FakeRun) -> None:
    """Behave as a run that has filled a screen before a client attaches."""
    run.started()
    run.send(m.Resize(columns=80, rows=24))
    if run.attach is None:
        await run.until(m.Close)
        return
    await run.write_rest("stdout", b"\x1b[?1049hold line\r\nnow: abc" + b"\rnow: xyz")
    await run.until(m.Close)


async def test_the_screen_is_painted_and_its_output_not_replayed(tmp_path: Path, pty: Pty) -> None:
    async with client_of(tmp_path, old) as (client, _):
        size = WindowSize(columns=80, rows=24)
        first = await client.start(["vim"], terminal=TerminalRequest(name="xterm", size=size), on_disconnect="keep")
        with LocalTerminal(pty.slave) as local:
            async with client.attach(first.id, offset=(0, None), stdin=True, size=size) as run:
                interaction = Interaction(run, local, backlog=34, backlog_size=size)
                shown = asyncio.ensure_future(interaction.run())
                output = await pty.shows(b"now: xyz")
                assert b"abc" not in output
                assert b"\x1b[?1049h" in output
                pty.type(b"~d")
                assert await shown is InteractionResult.DETACHED
        await pty.shows(b"\x1b[?1049l")
        first.detach()


async def test_a_read_only_client_may_not_type(tmp_path: Path, pty: Pty) -> None:
    async with client_of(tmp_path, old) as (client, service):
        size = WindowSize(columns=80, rows=24)
        first = await client.start(["vim"], terminal=TerminalRequest(name="xterm", size=size), on_disconnect="keep")
        with LocalTerminal(pty.slave) as local:
            async with client.attach(first.id, offset=(0, None), read_only=True, size=size) as run:
                interaction = Interaction(run, local, backlog=34, backlog_size=size)
                shown = asyncio.ensure_future(interaction.run())
                await pty.shows(b"now: xyz")
                pty.type(b"typed")
                await pty.shows(b"this terminal is read-only; keys are discarded")
                pty.type(b"\x03")
                assert await shown is InteractionResult.LEFT
        assert service.runs[1].stdin == b""
        first.detach()


async def test_the_last_screen_of_a_run_that_ends_within_the_backlog_is_painted(tmp_path: Path, pty: Pty) -> None:
    async def ended(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"the last words")
        run.ended()

    async with interacting(tmp_path, pty, ended) as (_, _, run, _, local):
        interaction = Interaction(run, local, backlog=64 * KiB)
        assert await interaction.run() is InteractionResult.RUN_ENDED
        await pty.shows(b"the last words")
