"""A run on the local terminal: keys, output, sizes both ways, notices, and every way to leave."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from farhand_client.output import Gap
from farhand_client.terminal import local, notices
from farhand_client.terminal.interaction import Interaction, InteractionResult
from farhand_client.terminal.local import LocalTerminal
from farhand_protocol import messages as m
from farhand_protocol.limits import KiB, MiB
from farhand_protocol.outcome import Exited
from tests.support.fake_service import FakeRun
from tests.support.fake_terminals import echo, editor
from tests.support.interactions import interacting
from tests.support.ptys import TIMEOUT, Pty, terminal


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


async def test_keys_and_output_are_passed_on_until_the_run_ends(tmp_path: Path, pty: Pty) -> None:
    before = pty.modes
    async with interacting(tmp_path, pty) as (_, _, run, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        assert pty.raw
        pty.type(b"\x03\x1a\xff\r")
        await pty.shows(b"<\x03\x1a\xff\r>")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED
        assert pty.modes == before
        assert (await run.wait()).outcome == Exited(code=3)
    await pty.shows(b"<q>")
    assert pty.shown == b""


async def test_all_output_is_shown_before_the_interaction_returns(tmp_path: Path, pty: Pty) -> None:
    data = os.urandom(1 * MiB).replace(b"\x1b", b"e").replace(b"\x0e", b"o")

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", data + b"<end>")
        run.ended()

    async with interacting(tmp_path, pty, behave) as (_, _, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        assert await pty.shows(b"<end>") == data
        assert await shown is InteractionResult.RUN_ENDED


async def test_a_held_terminal_blocks_the_program_but_not_the_keys(tmp_path: Path, pty: Pty) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(4 * MiB))

    pty.read_output(False)
    async with interacting(tmp_path, pty, behave) as (client, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        for _ in range(20):
            await client.ping()
        assert service.runs[0].sent["stdout"] < MiB
        pty.type(b"x\r")
        async with asyncio.timeout(10):
            while service.runs[0].stdin != b"x\r":
                await client.ping()
        pty.type(b"~.")
        start_time = time.monotonic()
        assert await shown is InteractionResult.LEFT
        assert time.monotonic() - start_time < 10
    assert not pty.raw


async def test_a_half_written_sequence_is_cancelled_before_the_settings_are_undone(
    tmp_path: Path, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "FINAL_WRITE_TIMEOUT", 10.0)

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"\x1b[?25l" + b"\x1b]0;" + b"t" * 60 * KiB + b"\x07")

    left = threading.Event()
    wait = select.select

    def waiting(*arguments: Any) -> Any:
        left.set()
        return wait(*arguments)

    monkeypatch.setattr(select, "select", waiting)

    def look() -> bytes:
        assert left.wait(TIMEOUT)
        output = b""
        while b"\x1b[?25h" not in output and wait([pty.master], [], [], TIMEOUT)[0]:
            output += os.read(pty.master, 1 << 16)
        return output

    pty.read_output(False)
    async with interacting(tmp_path, pty, behave) as (client, _, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        for _ in range(20):
            await client.ping()
        pty.type(b"~.")
        output = await asyncio.to_thread(look)  # the interaction waits for the terminal and blocks the loop
        assert await shown is InteractionResult.LEFT
    assert b"ttt\x18" in output


@pytest.mark.parametrize(("keys", "result"), [(b"~.", InteractionResult.LEFT), (b"ls\r~d", InteractionResult.DETACHED)])
async def test_leaving_by_a_key_undoes_the_programs_terminal_settings(
    tmp_path: Path, pty: Pty, keys: bytes, result: InteractionResult
) -> None:
    before = pty.modes
    async with interacting(tmp_path, pty, editor) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"editing")
        pty.type(keys)
        assert await shown is result
        await service.runs[0].until(m.Close)
        assert pty.modes == before
        output = await pty.shows(b"\x1b[?1049l")
        assert all(undone in output + pty.shown for undone in (b"\x1b[?25h", b"\x1b[?2004l", b"\x1b[?1000l"))


async def test_leaving_works_while_the_service_is_stopped(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.connections[0].fall_silent()
        await pty.paste(b"x" * 300 * KiB)  # more than the service lets us send
        start_time = time.monotonic()
        await pty.paste(b"\r~.")
        assert await shown is InteractionResult.LEFT
        assert time.monotonic() - start_time < 10
        service.connections[0].cut()  # closing waits for the service


async def test_keys_typed_during_an_outage_arrive_after_it(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty, reconnect=30.0) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.behave = echo
        service.arrived.clear()
        interaction.set_notice("connection lost")
        await pty.shows(b"connection lost")
        service.connections[0].cut()
        pty.type(b"typed meanwhile")
        await service.arrived.wait()
        interaction.set_notice(None)
        await pty.shows(b"<typed meanwhile>")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


async def test_during_an_outage_the_service_is_not_reported_as_unresponsive(
    tmp_path: Path, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PROBE_DELAY", 0.01)
    monkeypatch.setattr(notices, "PROBE_TIMEOUT", 0.01)
    async with interacting(tmp_path, pty, reconnect=30.0) as (client, service, run, _, local):
        asking = asyncio.Event()

        async def ask() -> float:
            asking.set()
            return await client.ping()

        interaction = Interaction(run, local, ping=ask)
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        (tmp_path / "fake.sock").unlink()
        service.connections[0].cut()
        interaction.set_notice("connection lost")
        pty.type(b"x")
        await asking.wait()
        await asyncio.sleep(0.02)  # the timer of the probe is due before this one
        pty.type(b"\r~.")
        assert await shown is InteractionResult.LEFT
    assert b"connection lost" in pty.shown
    assert b"does not answer" not in pty.shown


async def test_a_permanently_lost_connection_ends_the_interaction(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.connections[0].cut()
        assert await shown is InteractionResult.RUN_ENDED
    assert not pty.raw


async def test_a_terminal_that_hangs_up_leaves_the_run(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.hang_up()
        assert await shown is InteractionResult.TERMINAL_GONE
        await service.runs[0].until(m.Close)
        assert service.runs[0].messages[-1] == m.Close()


async def test_a_cancellation_restores_the_terminal(tmp_path: Path, pty: Pty) -> None:
    before = pty.modes
    async with interacting(tmp_path, pty) as (_, _, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        shown.cancel()
        await asyncio.wait([shown])
        assert shown.cancelled()
        assert pty.modes == before


async def test_help_is_shown_until_a_key_is_pressed(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, _, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.type(b"~?")
        await pty.shows(b"~d detaches")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


async def test_the_first_ctrl_z_shows_how_to_leave_the_program_running_where_no_shell_waits(
    tmp_path: Path, pty: Pty
) -> None:
    async with interacting(tmp_path, pty) as (_, _, run, _, local):
        interaction = Interaction(run, local, explain_suspend=True)
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.type(b"\x1a")
        await pty.shows(b"to put this in the background: Enter ~d; then :attach (or fg) returns to it")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


@pytest.mark.parametrize(("escape", "explain"), [(None, True), (ord("~"), False)])
async def test_ctrl_z_is_only_a_key_where_a_shell_waits_or_no_key_could_help(
    tmp_path: Path, pty: Pty, escape: int | None, explain: bool
) -> None:
    async with interacting(tmp_path, pty) as (_, _, run, _, local):
        interaction = Interaction(run, local, escape=escape, explain_suspend=explain)
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.type(b"\x1a")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED
        assert b"background" not in pty.shown


async def test_each_event_has_its_notice(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, service, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        interaction.output_lost(Gap("stdout", 0, 7))
        await pty.shows(b"7 bytes of output are lost; the screen may be wrong until it is redrawn")
        interaction.key_pressed()
        interaction.input_discarded()
        await pty.shows(b"the program reads no input; keys are discarded")
        interaction.key_pressed()
        interaction.set_notice("connection lost")
        await pty.shows(b"connection lost; Enter ~d detaches")
        service.connections[0].send(m.GoingAway(grace=10))
        await pty.shows(b"the service is stopping; it ends this run in 10 seconds")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


async def test_without_an_escape_character_there_are_no_keys_for_the_client(tmp_path: Path, pty: Pty) -> None:
    async with interacting(tmp_path, pty) as (_, _, run, _, local):
        interaction = Interaction(run, local, escape=None)
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        interaction.set_notice("connection lost")
        assert b"detaches" not in await pty.shows(b"\x07")
        pty.type(b"~.")
        await pty.shows(b"<~.>")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED


async def test_a_suspended_job_is_repainted_when_it_is_continued(
    tmp_path: Path, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspended: list[bool] = []
    monkeypatch.setattr(LocalTerminal, "suspend", lambda terminal: suspended.append(pty.raw))
    async with interacting(tmp_path, pty) as (_, _, _, interaction, _):
        shown = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.type(b"~\x1a")
        await pty.shows(b"ready")
        assert suspended == [True]
        os.kill(os.getpid(), signal.SIGCONT)
        await pty.shows(b"ready")
        pty.type(b"q")
        assert await shown is InteractionResult.RUN_ENDED
