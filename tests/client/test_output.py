"""The output of a run is streamed in order to one reader, which sets the pace, and its end is the real end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import PIPE, ConnectionLost, Exited, OutputIncomplete
from farhand_client.output import OutputStream
from farhand_protocol import messages as m
from farhand_protocol.limits import KiB, MiB
from tests.support.fake_runs import print_in_chunks, stoppable
from tests.support.fake_service import FakeRun, client_of


async def test_streams_yield_chunks_until_their_end(tmp_path: Path) -> None:
    async with client_of(tmp_path, print_in_chunks) as (client, _), client.start(["prog"]) as run:
        assert b"".join([chunk async for chunk in run.stdout]) == b"one\ntwo\n\nlast"
        assert run.stderr is not None
        assert await run.stderr.read() == b"err"
        assert await run.stderr.read() == await run.stderr.read(5) == b""


async def test_lines_keep_their_newline(tmp_path: Path) -> None:
    async with client_of(tmp_path, print_in_chunks) as (client, _), client.start(["prog"]) as run:
        assert [line async for line in run.stdout.lines()] == [b"one\n", b"two\n", b"\n", b"last"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
async def test_long_lines_are_cut_into_chunks(tmp_path: Path, limit: int, chunk: int) -> None:
    text = b"a\nbcdefg\r\n\n" + b"x" * 50 + b"\ny"

    async def behave(run: FakeRun) -> None:
        run.started()
        for at in range(0, len(text), chunk):
            await run.write("stdout", text[at : at + chunk])
        run.ended()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        chunks = [part async for part in run.stdout.lines(limit)]
    lines = [b"a\n", b"bcdefg\r\n", b"\n", b"x" * 50 + b"\n", b"y"]
    expected = [line[at : at + limit] for line in lines for at in range(0, len(line), limit)]
    assert chunks == expected


async def test_read_returns_at_most_the_size(tmp_path: Path) -> None:
    async with client_of(tmp_path, print_in_chunks) as (client, _), client.start(["prog"]) as run:
        assert await run.stdout.read(2) == b"on"
        assert await run.stdout.read(0) == b""
        assert await run.stdout.read() == b"e\ntwo\n\nlast"


async def test_small_output_is_delivered_as_it_arrives(tmp_path: Path) -> None:
    """The question of an interactive program does not wait for a buffer to fill."""

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"name? ")
        await run.until(m.End)
        run.ended()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"], stdin=PIPE) as run:
        assert await run.stdout.read(64 * KiB) == b"name? "
        assert run.stdin is not None
        run.stdin.close()
        await run.wait()


async def test_a_reader_that_stops_blocks_only_its_own_writer(tmp_path: Path) -> None:
    async def flood(run: FakeRun) -> None:
        run.started()
        if run.request.argv == (b"flood",):
            await run.write("stdout", bytes(6 * MiB))
        run.ended()

    async with client_of(tmp_path, flood) as (client, service), client.start(["flood"]) as run:
        await run.stdout.read(1)
        assert (await client.run(["true"])).returncode == 0
        while service.runs[0].sent["stdout"] < 4 * MiB:
            await client.ping()
        await client.ping()  # more would have arrived before the answer
        assert service.runs[0].sent["stdout"] == 4 * MiB
        assert len(await run.stdout.read()) == 6 * MiB - 1
        assert (await run.wait()).returncode == 0


async def test_discarded_output_does_not_block_the_program(tmp_path: Path) -> None:
    async def flood(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(6 * MiB))
        run.ended()

    async with client_of(tmp_path, flood) as (client, _), client.start(["flood"]) as run:
        await run.stdout.read(1)
        run.stdout.discard()
        assert (await run.wait()).returncode == 0
        assert await run.stdout.read() == b""


async def test_a_stream_has_one_reader(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, _), client.start(["prog"]) as run:
        first = asyncio.ensure_future(run.stdout.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another reader is already waiting"):
            await run.stdout.read()
        first.cancel()


async def test_a_reader_that_was_cancelled_loses_nothing(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def behave(run: FakeRun) -> None:
        run.started()
        await go.wait()
        await run.write("stdout", b"all of it")
        run.ended()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        reader = asyncio.ensure_future(run.stdout.read(100))
        await asyncio.sleep(0)
        reader.cancel()
        go.set()
        assert await run.stdout.read() == b"all of it"


async def test_after_a_loss_the_reader_gets_what_arrived_and_then_the_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"half")
        await asyncio.sleep(0)
        assert run.client.transport is not None
        run.client.transport.close()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        assert await run.stdout.read(100) == b"half"
        with pytest.raises(ConnectionLost):
            await run.stdout.read()
        assert run.stderr is not None
        with pytest.raises(ConnectionLost):
            async for _ in run.stderr.lines():
                pass
        with pytest.raises(ConnectionLost) as caught:
            await run.wait()
        assert caught.value.run_id == run.id
        assert run.outcome is None


@pytest.mark.parametrize("limit", [1, 3, 5, 8, 9])
def test_a_reader_gets_no_more_at_once_than_it_wants(limit: int) -> None:
    stream = OutputStream(lambda _: None, "id")
    for chunk in (b"0123456789abcdef", b"gh", b"ijk"):
        stream.feed(chunk)
    stream.end()
    received = b""
    while chunks := stream.read_nowait(limit):
        assert sum(map(len, chunks)) <= limit
        received += b"".join(chunks)
    assert (chunks, received) == (None, b"0123456789abcdefghijk")


async def test_a_callback_reader_gets_output_at_once_and_sets_the_pace(tmp_path: Path) -> None:
    total = 6 * MiB

    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", bytes(total))
        run.ended()

    async with client_of(tmp_path, behave) as (client, service), client.start(["prog"]) as run:
        size = 0
        finished = asyncio.Event()

        def read() -> None:
            nonlocal size
            while chunks := run.stdout.read_nowait(64 * KiB):
                assert sum(map(len, chunks)) <= 64 * KiB
                size += sum(map(len, chunks))
            if chunks is None:
                finished.set()

        await client.ping()
        for _ in range(20):
            await client.ping()
        assert service.runs[0].sent["stdout"] == 4 * MiB  # nothing has been read yet
        run.stdout.on_ready(read)
        read()
        await finished.wait()
        assert size == total


async def test_a_callback_reader_gets_what_arrived_and_then_the_error(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        await run.write("stdout", b"half")
        await run.until(m.Signal)
        run.client.cut()

    async with client_of(tmp_path, behave) as (client, _), client.start(["prog"]) as run:
        reported: list[bytes | Exception] = []
        finished = asyncio.Event()

        def read() -> None:
            try:
                while chunks := run.stdout.read_nowait():
                    reported.extend(chunks)
            except ConnectionLost as error:
                reported.append(error)
                finished.set()

        run.stdout.on_ready(read)
        run.send_signal(1)
        await finished.wait()
        assert reported[0] == b"half"
        assert isinstance(reported[1], ConnectionLost)


async def with_a_gap(run: FakeRun) -> None:
    run.started()
    await run.write("stdout", b"begin")
    run.send(m.GapNotice(stream="stdout", offset=5, bytes=1000))
    await run.write("stdout", b"end" * MiB * 3)
    run.ended(stdout=5 + 1000 + 9 * MiB)


async def test_a_gap_is_an_error_to_the_reader_and_at_the_end(tmp_path: Path) -> None:
    async with client_of(tmp_path, with_a_gap) as (client, _), client.start(["prog"], spool=MiB) as run:
        assert await run.stdout.read(5) == b"begin"
        for _ in range(2):
            with pytest.raises(OutputIncomplete, match="1000 bytes of stdout from offset 5 on are no longer kept"):
                await run.stdout.read()
        with pytest.raises(OutputIncomplete, match=r"exited with code 0, but 1000 of .* no longer kept") as caught:
            await run.wait()
        assert caught.value.outcome == Exited(code=0)
        with pytest.raises(OutputIncomplete):
            await client.run(["prog"], spool=MiB)


async def test_a_tolerated_gap_is_reported_in_its_place(tmp_path: Path) -> None:
    reported: list[object] = []
    async with (
        client_of(tmp_path, with_a_gap) as (client, _),
        client.start(["prog"], spool=MiB, on_gap=reported.append) as run,
    ):
        reported.append(await run.stdout.read(5))
        reported.append(await run.stdout.read(3))
        assert reported == [b"begin", ("stdout", 5, 1000), b"end"]
        assert len(await run.stdout.read()) == 9 * MiB - 3
        assert (await run.wait()).returncode == 0
        assert (await client.run(["prog"], spool=MiB, on_gap=reported.append)).stdout[:8] == b"beginend"
        assert len(reported) == 4
