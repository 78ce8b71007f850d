"""A service that falls silent is noticed; one that is only quiet is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from farhand_client import ConnectionLost, connect
from farhand_protocol.keepalive import MAX_SILENT_INTERVALS
from tests.support.fake_service import FakeRun
from tests.support.fake_tls import tls_service

pytestmark = pytest.mark.usefixtures("home")


async def test_a_service_that_falls_silent_is_noticed(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host, keepalive=0.05, reconnect=None) as client:
        service.connections[0].fall_silent()
        with pytest.raises(ConnectionLost, match=r"has not answered for 0\.15 seconds"):
            await client.run(["sleep", "9"])


async def test_a_quiet_service_that_answers_is_kept(tmp_path: Path) -> None:
    async def slow(run: FakeRun) -> None:
        run.started()
        await run.client.reads(2 * MAX_SILENT_INTERVALS)  # pings: fewer would come if their answers did not count
        run.ended()

    async with tls_service(tmp_path) as (service, _):
        service.behave = slow
        async with connect(service.host, keepalive=0.02) as client:
            assert (await client.run(["sleep"])).returncode == 0
