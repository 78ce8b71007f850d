"""`Client.start` returns a run that can be signalled, stopped, left and awaited; a failed start leaves nothing."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from farhand_client import ConnectionLost, Exited, RequestRefused, SpawnError, SpawnFailed
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from tests.support.fake_runs import STOPPED, print_in_chunks, stoppable
from tests.support.fake_service import FakeRun, client_of, refusing


async def test_a_run_has_its_id_and_pid_from_the_start(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        async with client.start(["prog"]) as run:
            assert (run.id, run.pid) == (service.runs[0].request.id, 4711)
            assert (run.stdin, run.result, run.outcome, run.returncode) == (None, None, None, None)
        assert (run.outcome, run.returncode) == (STOPPED, -signal.SIGTERM)


async def test_start_can_be_awaited(tmp_path: Path) -> None:
    async with client_of(tmp_path, print_in_chunks) as (client, _):
        run = await client.start(["prog"])
        assert await run.stdout.read() == b"one\ntwo\n\nlast"
        assert (await run.wait()).returncode == 2


async def test_start_can_be_a_task(tmp_path: Path) -> None:
    async with client_of(tmp_path, print_in_chunks) as (client, _):
        run = await asyncio.create_task(client.start(["prog"]))
        assert (await run.wait()).outcome == Exited(code=2)


async def test_the_result_counts_the_output(tmp_path: Path) -> None:
    async with client_of(tmp_path, print_in_chunks) as (client, _), client.start(["prog"]) as run:
        result = await run.wait()
        assert (result.stdout, result.stderr, result.duration, result.lingered) == (13, 3, 0.25, False)
        assert result == run.result


async def test_signals_go_to_the_run(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        async with client.start(["prog"]) as run:
            run.send_signal(signal.SIGHUP)
            run.terminate()
            run.kill()
            with pytest.raises(ValueError, match="65 is not a signal"):
                run.send_signal(65)
        run.kill()
    signals = [message.number for message in service.runs[0].messages if isinstance(message, m.Signal)]
    assert signals == [signal.SIGHUP, signal.SIGTERM, signal.SIGKILL]


async def test_stop_can_override_the_grace(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service), client.start(["prog"]) as run:
        await run.stop(kill_after=0)
        assert run.outcome == STOPPED
        assert service.runs[0].messages[0] == m.Stop(kill_after=0)


async def test_abandon_does_not_wait(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Close)

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        run.abandon()
        with pytest.raises(ConnectionLost, match="the service stops it"):
            await run.wait()
        assert await client.ping() > 0


async def test_a_run_that_does_not_start_leaves_no_channel_open(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.ended(SpawnFailed(errno=13, error="EACCES", what="program", message="no"))

    async with client_of(tmp_path, behave) as (client, service):
        with pytest.raises(SpawnError):
            await client.start(["prog"])
        assert await client.ping() > 0
        assert service.connections[0].connection.open_channels == 0


async def test_a_refused_start_leaves_no_channel_open(tmp_path: Path) -> None:
    async with client_of(tmp_path, refusing(ErrorCode.DENIED, "no")) as (client, service):
        with pytest.raises(RequestRefused):
            await client.start(["prog"])
        assert await client.ping() > 0
        assert service.connections[0].connection.open_channels == 0


async def test_closing_the_client_ends_its_runs(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service):
        run = await client.start(["prog"])
        await client.close()
        with pytest.raises(ConnectionLost, match="closed by this client"):
            await run.wait()
        await service.connections[0].closed.wait()
        await client.close()
        with pytest.raises(ConnectionLost):
            await client.ping()
