"""`Client.run` feeds a program's stdin from bytes, files and async iterables, as fast as the program reads."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_client import Exited, Killed
from farhand_protocol import messages as m
from farhand_protocol.limits import KiB, Limits, MiB
from tests.support.fake_runs import echo, printing, run
from tests.support.fake_service import FakeRun, client_of


@pytest.mark.parametrize("size", [0, 1, 64 * KiB, 9 * MiB + 1])
async def test_input_arrives_whole_and_then_ends(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    assert (await run(tmp_path, echo, input=data)).stdout == data


async def test_text_input_is_encoded(tmp_path: Path) -> None:
    assert (await run(tmp_path, echo, input="ä", text=True)).stdout == "ä"


async def test_stdin_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * MiB)
    with (tmp_path / "data").open("rb") as file:
        assert (await run(tmp_path, echo, stdin=file)).stdout == b"x" * MiB


async def test_stdin_can_be_in_memory(tmp_path: Path) -> None:
    assert (await run(tmp_path, echo, stdin=io.BytesIO(b"here"))).stdout == b"here"


async def test_stdin_can_be_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"piped")
    os.close(writing)
    try:
        assert (await run(tmp_path, echo, stdin=reading)).stdout == b"piped"
    finally:
        os.close(reading)


async def test_stdin_can_be_an_async_iterable(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0)
        yield b"two"

    assert (await run(tmp_path, echo, stdin=source())).stdout == b"onetwo"


async def test_a_run_need_not_wait_for_the_end_of_its_stdin(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        assert (await run(tmp_path, printing(b"done"), stdin=reading)).stdout == b"done"
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_run_that_reads_no_input_can_end(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.ended(Exited(code=1))

    async with client_of(tmp_path, behave, takes_stdin=False) as (client, _):
        assert (await client.run(["true"], input=bytes(5 * MiB))).returncode == 1


async def test_a_source_that_fails_stops_the_run(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"one"
        raise OSError("the disk is gone")

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.until(m.Stop)
        run.ended(Killed(reason="requested", signal=15))

    async with client_of(tmp_path, behave) as (client, service):
        with pytest.raises(OSError, match="the disk is gone"):
            await client.run(["cat"], stdin=source())
        assert m.Stop() in service.runs[0].messages


async def test_no_more_stdin_is_sent_than_there_is_credit_for(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        while len(run.stdin) < 64 * KiB:
            run.changed.clear()
            await run.changed.wait()
        await client.ping()  # more would have arrived before the answer
        assert len(run.stdin) == 64 * KiB
        run.ended()

    async with client_of(tmp_path, behave, limits=Limits(window=64 * KiB), takes_stdin=False) as (client, _):
        await client.run(["cat"], input=bytes(MiB))
