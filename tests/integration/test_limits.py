"""Requests above a limit are refused with a sentence; everything within the limits works at the same time."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

from farhand_protocol import messages as m
from farhand_protocol.outcome import Exited, Killed, SpawnFailed
from tests.support.client import TIMEOUT, RawClient, new_id
from tests.support.processes import descriptors, session_is_gone
from tests.support.service import Service, running_service


async def test_an_id_is_used_once(client: RawClient) -> None:
    run_id = new_id()
    first = client.start("sh", "-c", "read -r x; echo $x", id=run_id, stdin=True)
    meanwhile = await client.start("echo", "other", id=run_id).error()
    first.write(b"ok\n")
    await first.ended()
    afterwards = await client.start("echo", "other", id=run_id).error()
    for error in (meanwhile, afterwards):
        assert error.code == "conflict"
        assert run_id in error.message
    assert first.stdout == b"ok\n"


async def test_an_id_is_used_once_across_all_connections(core: Service, client: RawClient) -> None:
    run_id = new_id()
    await client.run("true", id=run_id)
    async with RawClient.connect(core.socket) as other:
        assert (await other.start("false", id=run_id).error()).code == "conflict"
        assert (await other.run("true", id=run_id))[0].outcome == Exited(code=0)


async def test_300_runs_at_once(core: Service) -> None:
    async with RawClient.connect(core.socket) as one, RawClient.connect(core.socket) as two:
        before = descriptors(core.process.pid)
        runs = [(one, two)[number % 2].start("cat", stdin=True) for number in range(300)]
        for run in runs:
            await run.started()
        for number, run in enumerate(runs):
            run.write(b"%d" % number)
            run.send(m.End(stream="stdin"))
        for number, run in enumerate(runs):
            assert (await run.ended()).outcome == Exited(code=0)
            assert run.stdout == b"%d" % number
        async with asyncio.timeout(TIMEOUT):
            while descriptors(core.process.pid) > before:
                await one.round_trip()


async def test_runs_are_bounded_in_the_service_and_on_each_connection(tmp_path: Path) -> None:
    config = "[runs]\nmax_runs = 4\nmax_runs_per_connection = 3\n"
    async with (
        running_service(tmp_path, config=config) as service,
        RawClient.connect(service.socket) as one,
        RawClient.connect(service.socket) as two,
    ):
        runs = [one.start("cat", stdin=True) for _ in range(3)]
        error = await one.start("true").error()
        assert error.code == "too_many_runs"
        assert "3 active runs" in error.message
        assert "runs.max_runs_per_connection" in error.message
        fourth = two.start("cat", stdin=True)
        await fourth.started()
        error = await two.start("true").error()
        assert error.code == "too_many_runs"
        assert "(runs.max_runs)" in error.message
        # A refused request may be repeated, and is served once there is room.
        runs[0].send(m.End(stream="stdin"))
        await runs[0].ended()
        assert (await two.run("true"))[0].outcome == Exited(code=0)
        assert (await one.run("true"))[0].outcome == Exited(code=0)


async def test_a_lack_of_descriptors_is_an_outcome_and_temporary(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service, RawClient.connect(service.socket) as client:
        await client.run("true")
        used = descriptors(service.process.pid)
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (used + 41, used + 41))
        runs = [client.start("sleep", "60", stdin=True) for _ in range(40)]
        started = [run for run in runs if await run.has_started()]
        failed = [run for run in runs if run not in started]
        assert started
        assert failed
        for run in failed:
            outcome = (await run.ended()).outcome
            assert isinstance(outcome, SpawnFailed), outcome
            assert (outcome.error, outcome.what) == ("EMFILE", "process")
        # All runs that did start are intact.
        for run in started:
            run.send(m.Stop(kill_after=0))
        for run in started:
            ended = await run.ended()
            assert isinstance(ended.outcome, Killed)
            await session_is_gone(await run.started())
        assert (await client.run("true"))[0].outcome == Exited(code=0)
        async with asyncio.timeout(TIMEOUT):
            while descriptors(service.process.pid) > used:
                await client.round_trip()


async def test_a_request_may_be_as_long_as_the_system_allows(client: RawClient) -> None:
    many = [b"x" * 100_000] * 15
    ended, run = await client.run("sh", "-c", 'printf %s "$@" | wc -c', "sh", *many)
    assert (ended.outcome, run.stdout) == (Exited(code=0), b"1500000\n")
    assert os.sysconf("SC_ARG_MAX") >= 1_500_000
