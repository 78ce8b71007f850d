"""A run's stdin is written like an asyncio stream: `drain` waits for the program, and an ended run raises."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from farhand_client import PIPE, ConnectionLost
from farhand_protocol.limits import MiB
from tests.support.fake_runs import echo, stoppable
from tests.support.fake_service import FakeRun, client_of


async def test_stdin_is_written_drained_and_closed(tmp_path: Path) -> None:
    async with client_of(tmp_path, echo) as (client, _), client.start(["cat"], stdin=PIPE) as run:
        assert run.stdin is not None
        for data in (b"one ", bytearray(b"two "), memoryview(b"three"), b""):
            run.stdin.write(data)
        await run.stdin.drain()
        run.stdin.close()
        run.stdin.close()
        assert run.stdin.is_closing()
        assert await run.stdout.read() == b"one two three"
        with pytest.raises(ValueError, match="closed"):
            run.stdin.write(b"more")


async def test_drain_waits_for_a_slow_program(tmp_path: Path) -> None:
    async with (
        client_of(tmp_path, stoppable, takes_stdin=False) as (client, service),
        client.start(["cat"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(bytes(9 * MiB))
        draining = asyncio.ensure_future(run.stdin.drain())
        while len(service.runs[0].stdin) < 4 * MiB:
            await client.ping()
        assert not draining.done()
        service.runs[0].client.connection.acknowledge(1, "stdin", 4 * MiB)
        service.runs[0].client.flush()
        while len(service.runs[0].stdin) < 8 * MiB:
            await client.ping()
        assert not draining.done()
        service.runs[0].client.connection.acknowledge(1, "stdin", 4 * MiB)
        service.runs[0].client.flush()
        await draining


async def test_no_more_than_the_limit_is_under_way(tmp_path: Path) -> None:
    async with (
        client_of(tmp_path, stoppable, takes_stdin=False) as (client, service),
        client.start(["cat"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.max_in_flight = MiB
        run.stdin.write(bytes(3 * MiB))
        draining = asyncio.ensure_future(run.stdin.drain())
        for received in (1, 2, 3):
            while len(service.runs[0].stdin) < received * MiB:
                await client.ping()
            await client.ping()
            assert len(service.runs[0].stdin) == received * MiB
            service.runs[0].client.connection.acknowledge(1, "stdin", MiB)
            service.runs[0].client.flush()
        await draining


async def test_writing_to_an_ended_run_is_a_broken_pipe(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.changed.wait()
        run.ended()

    async with (
        client_of(tmp_path, behave, takes_stdin=False) as (client, _),
        client.start(["true"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(bytes(9 * MiB))
        with pytest.raises(BrokenPipeError, match="the run has ended"):
            await run.stdin.drain()
        with pytest.raises(BrokenPipeError):
            run.stdin.write(b"x")


async def test_writing_after_a_loss_raises_connection_lost(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.changed.wait()
        run.client.cut()

    async with (
        client_of(tmp_path, behave, takes_stdin=False) as (client, _),
        client.start(["cat"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(bytes(9 * MiB))
        with pytest.raises(ConnectionLost):
            await run.stdin.drain()


@pytest.mark.parametrize("data", ["text", 5, None])
async def test_stdin_accepts_only_bytes(tmp_path: Path, data: Any) -> None:
    async with client_of(tmp_path, stoppable) as (client, _), client.start(["cat"], stdin=PIPE) as run:
        assert run.stdin is not None
        with pytest.raises(TypeError, match="stdin accepts bytes"):
            run.stdin.write(data)


async def test_unsent_stdin_is_counted_across_an_outage(tmp_path: Path) -> None:
    async with (
        client_of(tmp_path, stoppable, takes_stdin=False, reconnect=30) as (client, service),
        client.start(["cat"], stdin=PIPE) as run,
    ):
        assert run.stdin is not None
        run.stdin.write(bytes(5 * MiB))
        while len(service.runs[0].stdin) < 4 * MiB:
            await client.ping()
        assert run.stdin.waiting == 1 * MiB
        service.arrived.clear()
        service.connections[0].cut()
        await service.arrived.wait()
        while len(service.runs[1].stdin) < 4 * MiB:
            await client.ping()
        assert run.stdin.waiting == 1 * MiB
        service.runs[1].client.connection.acknowledge(service.runs[1].channel, "stdin", 4 * MiB)
        service.runs[1].client.flush()
        await run.stdin.drain()
        assert run.stdin.waiting == 0
