"""Output arrives completely, in order, before the outcome, and no faster than the client reads it."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack

import pytest

from farhand_client import connect
from farhand_protocol import messages as m
from farhand_protocol.limits import KiB, Limits, MiB
from farhand_protocol.outcome import Exited
from tests.support.client import TIMEOUT, RawClient
from tests.support.processes import end_of, resident
from tests.support.service import Service

SMALL = Limits(window=64 * KiB)


async def test_stdout_and_stderr_are_separate(client: RawClient) -> None:
    ended, run = await client.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (run.stdout, run.stderr, ended.outcome) == (b"out\n", b"err\n", Exited(code=7))
    assert (ended.stdout, ended.stderr, ended.lingered) == (4, 4, False)
    assert ended.duration > 0


async def test_merged_output_keeps_the_order_in_which_it_was_written(client: RawClient) -> None:
    script = "i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done"
    ended, run = await client.run("sh", "-c", script, merge_stderr=True)
    assert run.stdout.split() == [b"%d" % number for number in range(500)]
    assert (ended.stdout, ended.stderr) == (len(run.stdout), 0)
    assert run.transcript == ["started", "stdout", "end", "ended"]


async def test_the_start_is_reported_before_any_output(client: RawClient) -> None:
    runs = [client.start("sh", "-c", "echo; echo >&2") for _ in range(50)]
    for run in runs:
        await run.ended()
        assert run.transcript[0] == "started"


async def test_the_outcome_comes_after_all_data_and_both_ends(client: RawClient) -> None:
    runs = [client.start("sh", "-c", "seq 2000; seq 3000 >&2") for _ in range(20)]
    for run in runs:
        ended = await run.ended()
        assert run.transcript[-1] == "ended"
        assert run.transcript.count("end") == 2
        assert (ended.stdout, ended.stderr) == (run.totals["stdout"], run.totals["stderr"])
        assert run.stdout == b"".join(b"%d\n" % number for number in range(1, 2001))


async def test_64_mib_arrive_unchanged(client: RawClient) -> None:
    pattern = b"farhand\n" * 8192
    ended, run = await client.run("sh", "-c", "yes farhand 2>&- | head -c 67108864", keep=False)
    assert run.totals["stdout"] == ended.stdout == 64 * MiB
    expected = hashlib.sha256()
    for _ in range(64 * MiB // len(pattern)):
        expected.update(pattern)
    assert run.sha256.digest() == expected.digest()


async def test_output_is_not_held_back(client: RawClient) -> None:
    run = client.start("sh", "-c", "printf prompt; read -r answer; echo $answer", stdin=True)
    assert await run.output(6) == b"prompt"
    run.write(b"yes\n")
    await run.ended()
    assert run.stdout == b"promptyes\n"


async def test_a_client_without_credit_blocks_only_its_own_writer(core: Service) -> None:
    async with RawClient.connect(core.socket, limits=SMALL) as client, RawClient.connect(core.socket) as other:
        before = resident(core.process.pid)
        stuck = client.start("sh", "-c", "yes 2>&- | head -c 104857600; echo end", credit=False, keep=False)
        await stuck.output(SMALL.window)
        # The other stream of the channel, other runs of the connection and other connections all continue.
        for one in (client, other):
            ended, run = await one.run("head", "-c", "1000000", "/dev/zero")
            assert (ended.outcome, run.totals["stdout"]) == (Exited(code=0), 1_000_000)
        assert stuck.totals["stdout"] == SMALL.window
        # Four spools of 4 MiB plus overhead; everything written would be 80 MB.
        assert resident(core.process.pid) - before < 32 * MiB
        stuck.grant()
        ended = await stuck.ended()
        assert ended.outcome == Exited(code=0)
        assert ended.stdout == stuck.totals["stdout"] == 104857600 + 4


async def test_a_full_stdout_does_not_block_stderr(core: Service) -> None:
    async with RawClient.connect(core.socket, limits=SMALL) as client:
        run = client.start("sh", "-c", "(yes & echo $! >&2; wait)", credit=False)
        await run.output(SMALL.window)
        async with asyncio.timeout(TIMEOUT):
            while not run.totals["stderr"]:
                await client.round_trip()
        run.send(m.Stop())
        run.grant()
        await run.ended()


async def test_a_client_that_does_not_read_its_socket_blocks_only_its_own_writer(core: Service) -> None:
    async with RawClient.connect(core.socket) as client, RawClient.connect(core.socket) as other:
        await other.run("head", "-c", "8000000", "/dev/zero")
        before = resident(core.process.pid)
        runs = [client.start("head", "-c", "20000000", "/dev/zero", keep=False) for _ in range(4)]
        await runs[0].output(1)
        client.stop_reading()
        ended, run = await other.run("head", "-c", "8000000", "/dev/zero", keep=False)
        assert run.totals["stdout"] == ended.stdout == 8_000_000
        # Four spools of 4 MiB plus overhead; everything written would be 80 MB.
        assert resident(core.process.pid) - before < 32 * MiB
        client.resume_reading()
        for run in runs:
            ended = await run.ended()
            assert ended.stdout == run.totals["stdout"] == 20_000_000


# The minimum that window, spool and pipe hold: 64, 256 and 64 KiB.
@pytest.mark.parametrize("size", [300 * KiB, 370 * KiB])
async def test_output_written_before_the_exit_reaches_a_slow_client_completely(core: Service, size: int) -> None:
    async with RawClient.connect(core.socket, limits=SMALL) as client:
        run = client.start("head", "-c", str(size), "/dev/zero", credit=False)
        pid = await run.started()
        await run.output(SMALL.window)
        await end_of(pid)
        async with RawClient.connect(core.socket) as other:
            await other.run("sleep", "0.4")  # more than the linger time
        run.grant()
        ended = await run.ended()
        assert ended.outcome == Exited(code=0)
        assert ended.stdout == run.totals["stdout"] == size
        assert not ended.lingered


@pytest.mark.parametrize("connections", [1, 2])
async def test_two_streams_at_once_get_equal_parts(core: Service, connections: int) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(core.host)) for _ in range(connections)]
        runs = [await stack.enter_async_context(clients[-number].start(["cat", "/dev/zero"])) for number in range(2)]
        for run in runs:
            await run.stdout.read(1)
        received = [0, 0]

        async def read(number: int) -> None:
            while sum(received) < 96 * MiB:
                received[number] += len(await runs[number].stdout.read(MiB))

        await asyncio.gather(read(0), read(1))
        for run in runs:
            await run.stop(kill_after=0)
    assert min(received) > sum(received) / 4, received
