"""A silent service counts as lost, an idle one does not; many runs share a connection, up to the service's limit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import ConnectionLost, Killed, RequestRefused, connect
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.keepalive import MAX_SILENT_INTERVALS
from farhand_protocol.limits import Limits
from tests.support.fake_service import FakeRun, client_of
from tests.support.fake_tls import tls_service

pytestmark = pytest.mark.usefixtures("home")


async def test_a_silent_service_counts_as_lost(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host, keepalive=0.05, reconnect=None) as client:
        service.connections[0].fall_silent()
        with pytest.raises(ConnectionLost, match=r"has not answered for 0\.15 seconds"):
            await client.run(["sleep", "9"])


async def test_an_idle_service_that_answers_pings_is_kept(tmp_path: Path) -> None:
    async def slow(run: FakeRun) -> None:
        run.started()
        await run.client.reads(2 * MAX_SILENT_INTERVALS)  # pings: fewer would come if their answers did not count
        run.ended()

    async with tls_service(tmp_path) as (service, _):
        service.behave = slow
        async with connect(service.host, keepalive=0.02) as client:
            assert (await client.run(["sleep"])).returncode == 0


async def test_many_runs_share_a_connection(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        assert run.request.argv is not None
        run.started()
        await run.write("stdout", run.request.argv[1] * 20_000)
        run.ended()

    async with client_of(tmp_path, behave) as (client, service):
        all_of_them = await asyncio.gather(*(client.run(["echo", f"{n:03}"]) for n in range(200)))
        assert [one.stdout for one in all_of_them] == [f"{n:03}".encode() * 20_000 for n in range(200)]
        assert len(service.connections) == 1


async def test_a_run_beyond_the_services_limit_is_refused(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        await run.until(m.Stop)
        run.ended(Killed(reason="requested", signal=15))

    async with client_of(tmp_path, behave, limits=Limits(channels=1)) as (client, _), asyncio.TaskGroup() as group:
        task = group.create_task(client.run(["sleep", "9"]))
        await asyncio.sleep(0)
        with pytest.raises(RequestRefused, match="1 channels are open") as caught:
            await client.run(["true"])
        assert caught.value.code is ErrorCode.TOO_MANY_CHANNELS
        task.cancel()
