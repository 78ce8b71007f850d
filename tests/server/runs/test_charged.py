"""What holds the loop is measured, and what waits is not."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from farhand_server.runs import charged
from farhand_server.runs.charged import Charged
from tests.support.clock import VirtualClockLoop, virtual_time


def _hold(seconds: float) -> None:
    cast(VirtualClockLoop, asyncio.get_running_loop()).advance(seconds)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charged, "time", FakeTime)


class FakeTime:
    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()


@virtual_time
async def test_each_step_is_charged_but_not_the_waits_between_them() -> None:
    spent: list[float] = []

    async def work() -> str:
        _hold(1)
        await asyncio.sleep(100)
        _hold(2)
        return "done"

    assert await Charged(work(), spent.append) == "done"
    assert spent == [pytest.approx(1), pytest.approx(2)]


@virtual_time
async def test_errors_pass_both_ways_and_their_steps_are_charged() -> None:
    spent: list[float] = []

    async def fail() -> None:
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(100)
        finally:
            _hold(3)

    with pytest.raises(TimeoutError):
        await Charged(fail(), spent.append)
    assert sum(spent) == pytest.approx(3)
