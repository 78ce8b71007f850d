"""A service that says nothing to what is typed is noticed, and one whose program says nothing is not blamed."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.terminal import notices as module
from farhand_client.terminal.notices import ResponseWatch


class Service:
    """Answers once it is `there`."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.asked = 0
        self.shown: asyncio.Queue[str | None] = asyncio.Queue()
        self.silence = ResponseWatch(self.ask, self.shown.put_nowait)

    async def ask(self) -> None:
        self.asked += 1
        await self.there.wait()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_DELAY", 0.02)
    monkeypatch.setattr(module, "PROBE_TIMEOUT", 0.02)


async def test_a_service_that_does_not_answer_is_shown_until_it_does() -> None:
    service = Service()
    service.silence.key_sent()
    service.silence.key_sent()
    async with asyncio.timeout(10):
        assert await service.shown.get() == "the service does not answer"
        service.there.set()
        assert await service.shown.get() is None
    assert service.asked == 1


async def test_it_is_asked_again_for_what_is_typed_later() -> None:
    service = Service()
    service.silence.key_sent()
    async with asyncio.timeout(10):
        await service.shown.get()
        service.there.set()
        await service.shown.get()
        service.there.clear()
        await asyncio.sleep(0)
        service.silence.key_sent()
        assert await service.shown.get() == "the service does not answer"
    service.silence.close()


async def test_a_program_that_answers_needs_no_question() -> None:
    service = Service()
    service.silence.key_sent()
    service.silence.output_received()
    await asyncio.sleep(0.1)
    assert service.asked == 0


async def test_a_program_that_does_not_is_not_the_services_fault() -> None:
    service = Service()
    service.there.set()
    service.silence.key_sent()
    await asyncio.sleep(0.1)
    assert service.asked == 1
    assert service.shown.empty()


async def test_afterwards_nothing_is_shown() -> None:
    service = Service()
    service.silence.key_sent()
    async with asyncio.timeout(10):
        await service.shown.get()
    service.silence.close()
    service.there.set()
    await asyncio.sleep(0.05)
    assert service.shown.empty()
    service.silence.key_sent()
    service.silence.close()
    await asyncio.sleep(0.1)
    assert service.asked == 1
