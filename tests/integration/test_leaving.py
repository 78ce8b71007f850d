"""A client may leave a run or the connection at any moment: after the grace period its runs are ended, and nothing of
them remains."""

from __future__ import annotations

import asyncio

import pytest

from farhand_protocol import messages as m
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.limits import KiB, Limits, MiB
from farhand_protocol.outcome import Exited, Killed
from tests.support.client import TIMEOUT, RawClient
from tests.support.processes import children, descriptors, end_of, resident, session_is_gone
from tests.support.service import Service

SMALL = Limits(window=64 * KiB)


@pytest.mark.parametrize("program", ["sleep 60", "yes", "yes | cat >&2", "cat", "trap '' HUP INT; sleep 60 & wait"])
async def test_a_run_ends_with_the_connection_of_its_client(core: Service, program: str) -> None:
    async with RawClient.connect(core.socket) as client:
        run = client.start("sh", "-c", program, stdin=True, grace=0, kill_after=0.2, keep=False)
        pid = await run.started()
    await session_is_gone(pid)


async def test_a_client_may_vanish_before_the_program_has_started(core: Service) -> None:
    async with RawClient.connect(core.socket) as watching:
        await watching.run("true")
        before = descriptors(core.process.pid)
        for _ in range(10):
            async with RawClient.connect(core.socket) as client:
                for _ in range(10):
                    client.start("sh", "-c", "sleep 60", stdin=True, grace=0)
        async with asyncio.timeout(TIMEOUT):
            while children(core.process.pid) or descriptors(core.process.pid) > before:
                await watching.round_trip()


async def test_output_of_a_run_without_a_client_uses_no_memory(core: Service) -> None:
    before = resident(core.process.pid)
    async with RawClient.connect(core.socket) as client:
        script = "trap '' TERM HUP PIPE; head -c 100000000 /dev/zero"
        run = client.start("sh", "-c", script, keep=False, grace=0, kill_after=60)
        pid = await run.started()
        await run.output(1)
    await end_of(pid)
    assert resident(core.process.pid) - before < 16 * MiB


async def test_a_stop_ends_the_run_and_the_outcome_is_reported(client: RawClient) -> None:
    run = client.start("sleep", "60")
    pid = await run.started()
    run.send(m.Stop())
    assert (await run.ended()).outcome == Killed(reason="requested", signal=15)
    await session_is_gone(pid)


async def test_a_close_is_answered_and_ends_the_run_after_its_grace_period(client: RawClient) -> None:
    run = client.start("sleep", "60", grace=0)
    pid = await run.started()
    run.close()
    assert isinstance(await run.last(), m.Done)
    await session_is_gone(pid)


async def test_a_close_unblocks_a_program_that_waits_for_its_client(core: Service) -> None:
    async with RawClient.connect(core.socket, limits=SMALL) as client:
        script = "trap '' TERM; head -c 100000000 /dev/zero; exit 3"
        run = client.start("sh", "-c", script, credit=False, kill_after=60)
        await run.output(SMALL.window)
        run.send(m.Stop())
        run.close()
        await run.last()
        again = client.start("sh", "-c", script, id=run.request.id, kill_after=60, keep=False)
        ended = await again.ended()
        assert ended.outcome == Killed(reason="requested", code=3)
        assert ended.stdout == 100_000_000


async def test_an_outcome_queued_behind_output_is_not_lost_by_a_close(core: Service) -> None:
    async with RawClient.connect(core.socket, limits=SMALL) as client:
        run = client.start("head", "-c", "100000", "/dev/zero", credit=False)
        await run.output(SMALL.window)
        await end_of(await run.started())
        await client.run("true")
        run.close()
        assert isinstance(await run.last(), m.Done)
        again = client.start("head", "-c", "100000", "/dev/zero", id=run.request.id)
        ended = await again.ended()
        assert (ended.outcome, ended.stdout) == (Exited(code=0), 100_000)
        assert client.connection.open_channels == 0


@pytest.mark.parametrize("length", [0, 100_000])
async def test_a_message_that_cannot_be_decoded_ends_its_run_and_no_other(core: Service, length: int) -> None:
    async with RawClient.connect(core.socket, limits=SMALL) as client:
        other = client.start("sh", "-c", "read -r x; echo $x", stdin=True)
        run = client.start("sh", "-c", f"head -c {length} /dev/zero; sleep 60", credit=False, grace=0)
        pid = await run.started()
        await run.output(min(length, SMALL.window))
        client.raw(encode_frame(Kind.MESSAGE, run.channel, b'{"type":"wrong"}'))
        assert (await run.error()).code == "unknown_message"
        await session_is_gone(pid)
        other.write(b"on it goes\n")
        assert (await other.ended()).outcome == Exited(code=0)
        assert other.stdout == b"on it goes\n"


async def test_other_channels_continue_when_one_fails_while_its_end_is_queued(core: Service) -> None:
    """The connection is full of output, a silent run has ended, and then a bad message for that run arrives."""
    async with RawClient.connect(core.socket) as client:
        flood = client.start("head", "-c", "30000000", "/dev/zero", keep=False)
        await flood.output(1)
        client.stop_reading()
        silent = [client.start("true") for _ in range(5)]
        async with RawClient.connect(core.socket) as other:
            await other.run("sleep", "0.2")
        for run in silent:
            client.raw(encode_frame(Kind.MESSAGE, run.channel, b"{}"))
        async with RawClient.connect(core.socket) as other:
            await other.run("true")
        client.resume_reading()
        assert (await flood.ended()).stdout == flood.totals["stdout"] == 30_000_000
        for run in silent:
            await run.last()
        assert (await client.run("true"))[0].outcome == Exited(code=0)
        assert "Traceback" not in core.log
