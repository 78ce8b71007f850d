"""A run whose output goes to a file ends when all of it is written; a file that cannot be written stops the run."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from farhand_client import CommandTimeout, Gap, SpawnError, SpawnFailed, TimedOut
from farhand_protocol import messages as m
from farhand_protocol.limits import MiB
from tests.support.fake_runs import STOPPED, printing, run
from tests.support.fake_service import FakeRun, client_of


async def endless(run: FakeRun) -> None:
    """Write more than the window, and wait for the stop."""
    run.started()
    writing = asyncio.ensure_future(run.write("stdout", bytes(6 * MiB)))
    await run.until(m.Stop)
    writing.cancel()
    run.ended(STOPPED)


@pytest.fixture
def writers_end() -> Callable[[], bool]:
    """Wait for the threads that have begun to write to descriptors in this test, and return whether they have ended."""
    before = set(threading.enumerate())

    def wait() -> bool:
        writers = [each for each in set(threading.enumerate()) - before if each.name.startswith("writer of")]
        for thread in writers:
            thread.join(10)
        return not any(thread.is_alive() for thread in writers)

    return wait


async def test_a_pipe_gets_everything_and_its_thread_ends(tmp_path: Path, writers_end: Callable[[], bool]) -> None:
    reading, writing = os.pipe()
    async with client_of(tmp_path, printing(bytes(MiB))) as (client, _):
        running = asyncio.create_task(client.run(["true"], stdout=writing))
        received = 0
        while received < MiB:
            received += len(await asyncio.to_thread(os.read, reading, MiB))
        done = await running
    os.close(writing)
    assert os.read(reading, 1) == b""  # the copy of the descriptor is closed too
    os.close(reading)
    assert (done.stdout, done.stderr) == (None, b"")
    assert writers_end()


async def test_a_file_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    async with client_of(tmp_path, endless) as (client, service):
        with Path("/dev/full").open("wb") as full, pytest.raises(OSError, match="No space left"):
            await client.run(["yes"], stdout=full)
        assert any(isinstance(message, m.Stop) for message in service.runs[0].messages)
        assert await client.ping() > 0


async def test_a_pipe_that_nobody_reads_any_more_stops_the_run(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        await run(tmp_path, endless, stdout=writing)
    os.close(writing)


async def test_a_pipe_that_is_not_read_blocks_the_run_and_no_other(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    begun = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(MiB))
        begun.set()
        await run.until(m.Stop)
        run.ended(STOPPED)

    async with client_of(tmp_path, behave) as (client, _):
        running = asyncio.create_task(client.run(["yes"], stdout=writing))
        await begun.wait()
        assert await client.ping() > 0
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("to_file", [False, True])
async def test_an_error_of_on_gap_stops_the_run_and_reaches_the_caller(tmp_path: Path, to_file: bool) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        for offset in (0, 5):
            run.send(m.GapNotice(stream="stdout", offset=offset, bytes=5))
        run.sent["stdout"] = 10
        await run.until(m.Stop)
        run.ended(STOPPED)

    def on_gap(gap: Gap) -> None:
        raise ZeroDivisionError(str(gap))

    async with client_of(tmp_path, behave) as (client, service):
        with (tmp_path / "out").open("wb") as out, pytest.raises(ZeroDivisionError, match="5 bytes of stdout"):
            await client.run(["true"], on_gap=on_gap, stdout=out if to_file else None)
        assert await client.ping() > 0
        assert len(service.connections) == 1
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_errors_of_the_run_arrive_although_output_is_redirected(tmp_path: Path) -> None:
    failed = SpawnFailed(errno=2, error="ENOENT", what="program", message="there is no nope")

    async def behave(run: FakeRun) -> None:
        run.ended(failed)

    with (tmp_path / "out").open("wb") as out:
        with pytest.raises(SpawnError, match="there is no nope"):
            await run(tmp_path, behave, stdout=out)
        with pytest.raises(CommandTimeout) as caught:
            await run(tmp_path, printing(b"half", b"why", TimedOut(timeout=2.0, signal=9)), stdout=out, text=True)
    assert (tmp_path / "out").read_bytes() == b"half"
    # As in subprocess, these are bytes even with text=True.
    assert (caught.value.stdout, caught.value.output, caught.value.stderr) == (None, None, b"why")
