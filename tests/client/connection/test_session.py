"""A silent service counts as lost, an idle one does not; many runs share a connection, up to the service's limit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import (
    ConnectionLost,
    Killed,
    RequestRefused,
    connect,
)
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.keepalive import MAX_SILENT_INTERVALS
from farhand_protocol.limits import Limits
from tests.support.fake_runs import run, stoppable
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


@pytest.mark.parametrize(
    ("send_raw", "sentence"),
    [
        (b"\xff\xff\xff\x03\0\0\0\1", "a frame of 16777215 bytes"),
        (b"\0\0\x01\x09\0\0\0\1x", "unknown frame kind 9"),
        (b"\0\0\x02\x01\0\0\0\0{}", "has no known type"),
        (b"\0\0\x01\x03\0\0\0\x07x", "channel 7 was never opened"),
    ],
)
async def test_a_service_that_violates_the_protocol_is_disconnected(
    tmp_path: Path, send_raw: bytes, sentence: str
) -> None:
    async def behave(run: FakeRun) -> None:
        run.started()
        run.client.send_raw(send_raw)

    with pytest.raises(ConnectionLost, match=f"violated the protocol: .*{sentence}"):
        await run(tmp_path, behave)


async def test_the_services_last_error_is_reported(tmp_path: Path) -> None:
    async def behave(run: FakeRun) -> None:
        run.client.send(m.Error(code=ErrorCode.INTERNAL, message="out of everything"))
        assert run.client.transport is not None
        run.client.transport.close()

    with pytest.raises(ConnectionLost, match="closed the connection: out of everything"):
        await run(tmp_path, behave)


async def test_an_announced_shutdown_is_reported_with_its_grace(tmp_path: Path) -> None:
    async with client_of(tmp_path, stoppable) as (client, service), client.start(["prog"]) as run:
        reported: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        run.on_going_away(reported.set_result)
        assert not client.going_away
        service.connections[0].send(m.GoingAway(grace=7.0))
        assert await reported == 7.0
        assert client.going_away


async def test_pings_overlap_and_fail_with_the_connection(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (client, service):
        assert all(seconds > 0 for seconds in await asyncio.gather(client.ping(), client.ping(), client.ping()))
        service.connections[0].fall_silent()
        pinging = asyncio.ensure_future(client.ping())
        await asyncio.sleep(0)
        service.connections[0].cut()
        with pytest.raises(ConnectionLost, match=r"was closed by the peer|failed"):
            await pinging
