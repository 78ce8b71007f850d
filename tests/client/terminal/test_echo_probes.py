"""Probes are pings: sent when an echo is due, answered once, and cancelled at the end."""

from __future__ import annotations

import asyncio

import pytest

from farhand_client.config import PredictMode
from farhand_client.errors import ConnectionLost
from farhand_client.terminal import predicted_echo
from farhand_client.terminal.echo_probes import MAX_PROBES, EchoProbes
from farhand_client.terminal.predicted_echo import PredictedEcho
from farhand_client.terminal.screen import ScreenTracker


class Service:
    """Answers pings when it is told to."""

    def __init__(self, predict: PredictMode) -> None:
        self.echo = PredictedEcho(ScreenTracker(20, 6), predict)
        self.pings: asyncio.Queue[asyncio.Future[float]] = asyncio.Queue()
        self.answered = asyncio.Event()
        self.probes = EchoProbes(self.echo, self.ping, self.answered.set)

    async def ping(self) -> float:
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.pings.put_nowait(answer)
        return await answer

    async def pinged(self) -> asyncio.Future[float]:
        async with asyncio.timeout(10):
            return await self.pings.get()

    def type(self, key: bytes) -> None:
        self.echo.typed(key, asyncio.get_running_loop().time())
        self.probes.schedule()


async def test_the_connection_is_measured_at_once() -> None:
    service = Service("auto")
    service.probes.schedule()
    (await service.pinged()).set_result(0.2)
    await service.answered.wait()
    service.type(b"a")
    await service.pinged()
    service.probes.close()


async def test_each_input_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicted_echo, "ECHO_TIME", 0.001)
    service = Service("always")
    service.probes.schedule()
    assert service.pings.empty()
    for key in (b"a", b"b"):
        service.type(key)
        ping = await service.pinged()
    ping.set_result(0.2)
    await service.answered.wait()
    service.probes.close()


async def test_a_connection_that_is_lost_for_good_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicted_echo, "ECHO_TIME", 0.001)
    service = Service("always")
    service.type(b"a")
    (await service.pinged()).set_exception(ConnectionLost("cut"))
    await service.answered.wait()
    assert not service.echo.pending
    service.probes.close()


async def test_unanswered_probes_are_limited_and_the_last_answer_stands_for_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predicted_echo, "ECHO_TIME", 0.0)
    service = Service("always")
    pings = []
    for _ in range(MAX_PROBES):
        service.type(b"a")
        pings.append(await service.pinged())
    service.type(b"a")
    await asyncio.sleep(0)
    assert service.pings.empty()
    pings[-1].set_result(0.2)
    await service.pinged()
    assert all(ping.cancelled() for ping in pings[:-1])
    service.probes.close()


async def test_closing_sends_and_awaits_nothing_more() -> None:
    service = Service("auto")
    service.probes.schedule()
    ping = await service.pinged()
    service.probes.close()
    await asyncio.wait([ping])
    assert ping.cancelled()
    assert not service.answered.is_set()
