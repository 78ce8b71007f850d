"""Many runs share a connection, as many as the service takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import Killed, RequestRefused
from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import Limits
from tests.support.fake_service import FakeRun, client_of


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


async def test_a_service_that_takes_no_more_runs_is_said(tmp_path: Path) -> None:
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
