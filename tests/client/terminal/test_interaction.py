"""A run's terminal on the one here: keys there, output here, sizes both ways, and every way to leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client import Client, TerminalRequest, WindowSize
from farhand_client.run import Run
from farhand_client.terminal import local, notices
from farhand_client.terminal.interaction import Interaction, InteractionResult
from farhand_client.terminal.local import LocalTerminal
from farhand_protocol import messages as m
from farhand_protocol.limits import KiB, MiB
from farhand_protocol.outcome import Exited
from tests.support.fake_service import Behaviour, FakeRun, FakeService, client_of
from tests.support.fake_terminals import echo, editor
from tests.support.ptys import Pty, terminal


@pytest.fixture
async def pty() -> AsyncIterator[Pty]:
    async with terminal() as made:
        yield made


@contextlib.asynccontextmanager
async def shown(
    tmp_path: Path, pty: Pty, behave: Behaviour = echo, **options: object
) -> AsyncIterator[tuple[Client, FakeService, Run, Interaction, LocalTerminal]]:
    takes = bool(options.pop("takes_stdin", True))
    reconnect = options.pop("reconnect", None)
    assert reconnect is None or isinstance(reconnect, float)
    async with client_of(tmp_path, behave, takes_stdin=takes, reconnect=reconnect) as (client, service):
        with LocalTerminal(pty.slave) as local:
            wanted = TerminalRequest(name="xterm", size=local.size, modes=local.modes)
            async with client.start(["prog"], terminal=wanted, on_disconnect="keep", on_gap=lambda _: None) as run:
                yield client, service, run, Interaction(run, local), local


async def test_keys_go_there_and_output_comes_here_until_the_run_ends(tmp_path: Path, pty: Pty) -> None:
    before = pty.modes
    async with shown(tmp_path, pty) as (_, _, run, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        assert pty.raw
        pty.type(b"\x03\x1a\xff\r")
        await pty.shows(b"<\x03\x1a\xff\r>")
        pty.type(b"q")
        assert await over is InteractionResult.RUN_ENDED
        assert pty.modes == before
        assert (await run.wait()).outcome == Exited(code=3)
    await pty.shows(b"<q>")
    assert pty.shown == b""


async def test_all_output_is_shown_before_the_end(tmp_path: Path, pty: Pty) -> None:
    data = os.urandom(1 * MiB).replace(b"\x1b", b"e").replace(b"\x0e", b"o")

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", data + b"<end>")
        run.ended()

    async with shown(tmp_path, pty, behave) as (_, _, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        assert await pty.shows(b"<end>") == data
        assert await over is InteractionResult.RUN_ENDED


async def test_a_held_terminal_holds_the_program_and_not_the_keys(tmp_path: Path, pty: Pty) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(4 * MiB))

    pty.look(False)
    async with shown(tmp_path, pty, behave) as (client, service, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        for _ in range(20):
            await client.ping()
        assert service.runs[0].sent["stdout"] < MiB
        pty.type(b"x\r")
        async with asyncio.timeout(10):
            while service.runs[0].stdin != b"x\r":
                await client.ping()
        pty.type(b"~.")
        began = time.monotonic()
        assert await over is InteractionResult.LEFT
        assert time.monotonic() - began < 1
    assert not pty.raw


async def test_a_sequence_that_the_terminal_has_half_of_takes_nothing_of_what_is_said_last(
    tmp_path: Path, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "FINAL_WRITE_TIMEOUT", 10.0)

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"\x1b[?25l" + b"\x1b]0;" + b"t" * 60 * KiB + b"\x07")

    def look() -> bytes:
        time.sleep(0.3)  # until it is left
        said = b""
        while b"\x1b[?25h" not in said and select.select([pty.master], [], [], 10)[0]:
            said += os.read(pty.master, 1 << 16)
        return said

    pty.look(False)
    async with shown(tmp_path, pty, behave) as (client, _, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        for _ in range(20):
            await client.ping()
        pty.type(b"~.")
        said = await asyncio.to_thread(look)  # the terminal is waited for, a little, and by nobody else here
        assert await over is InteractionResult.LEFT
    assert b"ttt\x18" in said


@pytest.mark.parametrize(
    ("keys", "parting"), [(b"~.", InteractionResult.LEFT), (b"ls\r~d", InteractionResult.DETACHED)]
)
async def test_the_user_leaves_by_a_key_and_what_the_program_has_set_is_undone(
    tmp_path: Path, pty: Pty, keys: bytes, parting: InteractionResult
) -> None:
    before = pty.modes
    async with shown(tmp_path, pty, editor) as (_, service, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"editing")
        pty.type(keys)
        assert await over is parting
        await service.runs[0].until(m.Close)
        assert pty.modes == before
        said = await pty.shows(b"\x1b[?1049l")
        assert all(undone in said + pty.shown for undone in (b"\x1b[?25h", b"\x1b[?2004l", b"\x1b[?1000l"))


async def test_leaving_works_while_the_service_is_stopped(tmp_path: Path, pty: Pty) -> None:
    async with shown(tmp_path, pty) as (_, service, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.connections[0].fall_silent()
        await pty.paste(b"x" * MiB)
        began = time.monotonic()
        await pty.paste(b"\r~.")
        assert await over is InteractionResult.LEFT
        assert time.monotonic() - began < 1


async def test_what_is_typed_on_a_dead_line_arrives_once_it_is_back(tmp_path: Path, pty: Pty) -> None:
    async with shown(tmp_path, pty, reconnect=30.0) as (_, service, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.behave = echo
        service.came.clear()
        interaction.set_notice("the line is down")
        await pty.shows(b"the line is down")
        service.connections[0].cut()
        pty.type(b"typed meanwhile")
        await service.came.wait()
        interaction.set_notice(None)
        await pty.shows(b"<typed meanwhile>")
        pty.type(b"q")
        assert await over is InteractionResult.RUN_ENDED


async def test_a_lost_line_is_not_said_to_be_a_service_that_does_not_answer(
    tmp_path: Path, pty: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PROBE_DELAY", 0.01)
    monkeypatch.setattr(notices, "PROBE_TIMEOUT", 0.01)
    async with shown(tmp_path, pty, reconnect=30.0) as (client, service, run, _, local):
        asking = asyncio.Event()

        async def ask() -> None:
            asking.set()
            await client.ping()

        interaction = Interaction(run, local, ping=ask)
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        (tmp_path / "fake.sock").unlink()
        service.connections[0].cut()
        interaction.set_notice("the line is down")
        pty.type(b"x")
        await asking.wait()
        await asyncio.sleep(0.1)  # ten times what it takes
        pty.type(b"\r~.")
        assert await over is InteractionResult.LEFT
    assert b"the line is down" in pty.shown
    assert b"does not answer" not in pty.shown


async def test_a_line_that_is_lost_for_good_ends_it(tmp_path: Path, pty: Pty) -> None:
    async with shown(tmp_path, pty) as (_, service, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        service.connections[0].cut()
        assert await over is InteractionResult.RUN_ENDED
    assert not pty.raw


async def test_a_closed_window_leaves_the_run(tmp_path: Path, pty: Pty) -> None:
    async with shown(tmp_path, pty) as (_, service, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.hang_up()
        assert await over is InteractionResult.TERMINAL_GONE
        await service.runs[0].until(m.Close)
        assert service.runs[0].messages[-1] == m.Close()


async def test_a_cancellation_gives_the_terminal_back(tmp_path: Path, pty: Pty) -> None:
    before = pty.modes
    async with shown(tmp_path, pty) as (_, _, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        over.cancel()
        await asyncio.wait([over])
        assert over.cancelled()
        assert pty.modes == before


async def test_help_is_shown_and_goes_at_a_key(tmp_path: Path, pty: Pty) -> None:
    async with shown(tmp_path, pty) as (_, _, _, interaction, _):
        over = asyncio.ensure_future(interaction.run())
        await pty.shows(b"ready ")
        pty.type(b"~?")
        await pty.shows(b"~d detaches")
        pty.type(b"q")
        assert await over is InteractionResult.RUN_ENDED


class TestSizes:
    async def test_a_storm_reaches_the_program_as_few_sizes_the_last_one_among_them(
        self, tmp_path: Path, pty: Pty
    ) -> None:
        async with shown(tmp_path, pty) as (_, service, _, interaction, _):
            over = asyncio.ensure_future(interaction.run())
            await pty.shows(b"ready ")
            for columns in range(100, 200):
                pty.resize(columns, 30)
                os.kill(os.getpid(), signal.SIGWINCH)
                await asyncio.sleep(0.005)
            async with asyncio.timeout(10):
                while m.Resize(columns=199, rows=30) not in service.runs[0].messages:
                    service.runs[0].changed.clear()
                    await service.runs[0].changed.wait()
            assert len(service.runs[0].messages) < 30
            pty.type(b"q")
            assert await over is InteractionResult.RUN_ENDED

    @pytest.mark.parametrize(("columns", "rows"), [(1, 1), (500, 300)])
    async def test_any_size_works(self, columns: int, rows: int, tmp_path: Path, pty: Pty) -> None:
        pty.resize(columns, rows)
        async with shown(tmp_path, pty) as (_, _, _, interaction, _):
            over = asyncio.ensure_future(interaction.run())
            await pty.shows(b"ready ")
            interaction.set_notice("the line is down")
            interaction.add_notice("a note")
            interaction.set_notice(None)
            pty.type(b"q")
            assert await over is InteractionResult.RUN_ENDED

    async def test_a_smaller_one_of_another_client_is_said_once(self, tmp_path: Path, pty: Pty) -> None:
        async with shown(tmp_path, pty) as (_, service, _, interaction, _):
            over = asyncio.ensure_future(interaction.run())
            await pty.shows(b"ready ")
            service.runs[0].say(m.Resize(columns=40, rows=10))
            await pty.shows(b"another client limits the terminal to 40x10")
            pty.type(b"q")
            assert await over is InteractionResult.RUN_ENDED

    async def test_a_size_that_nobody_knows_is_none(self, tmp_path: Path, pty: Pty) -> None:
        async with shown(tmp_path, pty) as (_, service, _, interaction, _):
            over = asyncio.ensure_future(interaction.run())
            await pty.shows(b"ready ")
            service.runs[0].say(m.Resize(columns=0, rows=0))
            pty.type(b"q")
            assert await over is InteractionResult.RUN_ENDED

    async def test_the_services_word_on_the_size_before_is_not_spoken_of(self, tmp_path: Path, pty: Pty) -> None:
        async with shown(tmp_path, pty) as (_, service, _, interaction, _):
            over = asyncio.ensure_future(interaction.run())
            await pty.shows(b"ready ")
            pty.resize(100, 30)
            os.kill(os.getpid(), signal.SIGWINCH)
            told = await service.runs[0].until(m.Resize)
            service.runs[0].say(m.Resize(columns=80, rows=24))
            await asyncio.sleep(0.1)
            service.runs[0].say(told)
            await asyncio.sleep(0.4)
            assert b"another client" not in pty.shown
            pty.type(b"q")
            assert await over is InteractionResult.RUN_ENDED


class TestAttached:
    @staticmethod
    async def old(run: FakeRun) -> None:
        """A run that has filled a screen before anybody attaches."""
        run.started()
        run.say(m.Resize(columns=80, rows=24))
        if run.attach is None:
            await run.until(m.Close)
            return
        await run.rest("stdout", b"\x1b[?1049hold line\r\nnow: abc" + b"\rnow: xyz")
        await run.until(m.Close)

    async def test_the_screen_is_painted_once_it_is_known_and_not_replayed(self, tmp_path: Path, pty: Pty) -> None:
        async with client_of(tmp_path, self.old) as (client, _):
            size = WindowSize(columns=80, rows=24)
            first = await client.start(["vim"], terminal=TerminalRequest(name="xterm", size=size), on_disconnect="keep")
            with LocalTerminal(pty.slave) as local:
                async with client.attach(first.id, offset=(0, None), stdin=True, size=size) as run:
                    interaction = Interaction(run, local, backlog=34, backlog_size=size)
                    over = asyncio.ensure_future(interaction.run())
                    said = await pty.shows(b"now: xyz")
                    assert b"abc" not in said
                    assert b"\x1b[?1049h" in said
                    pty.type(b"~d")
                    assert await over is InteractionResult.DETACHED
            await pty.shows(b"\x1b[?1049l")
            first.detach()

    async def test_who_may_not_type_only_watches(self, tmp_path: Path, pty: Pty) -> None:
        async with client_of(tmp_path, self.old) as (client, service):
            size = WindowSize(columns=80, rows=24)
            first = await client.start(["vim"], terminal=TerminalRequest(name="xterm", size=size), on_disconnect="keep")
            with LocalTerminal(pty.slave) as local:
                async with client.attach(first.id, offset=(0, None), read_only=True, size=size) as run:
                    interaction = Interaction(run, local, backlog=34, backlog_size=size)
                    over = asyncio.ensure_future(interaction.run())
                    await pty.shows(b"now: xyz")
                    pty.type(b"typed")
                    await pty.shows(b"this terminal is read-only; keys are discarded")
                    pty.type(b"\x03")
                    assert await over is InteractionResult.LEFT
            assert service.runs[1].stdin == b""
            first.detach()

    async def test_a_run_that_ends_before_its_screen_is_known_is_shown_as_far_as_it_is(
        self, tmp_path: Path, pty: Pty
    ) -> None:
        async def over_already(run: FakeRun) -> None:
            run.started()
            await run.write("stdout", b"the last words")
            run.ended()

        async with shown(tmp_path, pty, over_already) as (_, _, run, _, local):
            interaction = Interaction(run, local, backlog=64 * KiB)
            assert await interaction.run() is InteractionResult.RUN_ENDED
            await pty.shows(b"the last words")
