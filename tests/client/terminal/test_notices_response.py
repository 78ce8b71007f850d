"""The user is told if the service does not answer while they type, but not if only the program does not respond."""

from __future__ import annotations

import asyncio

from farhand_client.terminal.notices import PROBE_DELAY, PROBE_TIMEOUT, ResponseWatch
from tests.support.clock import virtual_time


class Service:
    """Answers a ping once `answering` is set."""

    def __init__(self) -> None:
        self.answering = asyncio.Event()
        self.pings = 0
        self.shown: list[str | None] = []
        self.watch = ResponseWatch(self.ping, self.shown.append)

    async def ping(self) -> None:
        self.pings += 1
        await self.answering.wait()


@virtual_time
async def test_a_service_that_does_not_answer_is_shown_until_it_does() -> None:
    service = Service()
    service.watch.key_sent()
    service.watch.key_sent()
    await asyncio.sleep(PROBE_DELAY + PROBE_TIMEOUT - 0.1)
    assert service.shown == []
    await asyncio.sleep(0.2)
    assert service.shown == ["the service does not answer"]
    service.answering.set()
    await asyncio.sleep(0.1)
    assert service.shown == ["the service does not answer", None]
    assert service.pings == 1


@virtual_time
async def test_a_later_key_probes_the_service_again() -> None:
    service = Service()
    for _ in range(2):
        service.answering.clear()
        service.watch.key_sent()
        await asyncio.sleep(2 * (PROBE_DELAY + PROBE_TIMEOUT))
        service.answering.set()
        await asyncio.sleep(0.1)
    assert service.shown == ["the service does not answer", None] * 2


@virtual_time
async def test_output_makes_a_probe_unnecessary() -> None:
    service = Service()
    service.watch.key_sent()
    service.watch.output_received()
    await asyncio.sleep(2 * PROBE_DELAY)
    assert service.pings == 0


@virtual_time
async def test_a_service_that_answers_is_not_shown_although_the_program_is_silent() -> None:
    service = Service()
    service.answering.set()
    service.watch.key_sent()
    await asyncio.sleep(2 * (PROBE_DELAY + PROBE_TIMEOUT))
    assert (service.pings, service.shown) == (1, [])


@virtual_time
async def test_nothing_is_shown_after_closing() -> None:
    service = Service()
    service.watch.key_sent()
    await asyncio.sleep(2 * (PROBE_DELAY + PROBE_TIMEOUT))
    service.watch.close()
    service.answering.set()
    await asyncio.sleep(0.1)
    service.watch.key_sent()
    service.watch.close()
    await asyncio.sleep(2 * (PROBE_DELAY + PROBE_TIMEOUT))
    assert (service.pings, service.shown) == (1, ["the service does not answer"])


@virtual_time
async def test_a_failed_ping_shows_nothing() -> None:
    async def fail() -> None:
        raise ConnectionError

    shown: list[str | None] = []
    watch = ResponseWatch(fail, shown.append)
    watch.key_sent()
    await asyncio.sleep(2 * PROBE_DELAY)
    assert shown == []
