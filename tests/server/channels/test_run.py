"""When a run's channel says what: the ends of streams and the outcome."""

from __future__ import annotations

import asyncio

from farhand_client import connect
from tests.support.service import Service


async def test_the_end_of_a_stream_does_not_wait_for_a_program_that_lives_on(service: Service) -> None:
    async with connect(service.host) as client, client.start("exec >&- 2>&-; sleep 60", shell=True) as run:
        assert run.stderr is not None
        async with asyncio.timeout(10):
            assert await run.stdout.read() == b""
            assert await run.stderr.read() == b""
        assert run.outcome is None
