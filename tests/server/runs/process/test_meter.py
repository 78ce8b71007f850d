"""The memory peak of a program is known if it is above the service's own."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator

import pytest

from farhand_server.runs.process.meter import PeakFloors, UsageMeter, own_peak
from farhand_server.runs.process.usage import ResourceUsage
from tests.support.processes import TIMEOUT
from tests.support.started_programs import nothing_left, started


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


async def test_the_peak_of_memory_is_known_if_it_is_above_the_services_own() -> None:
    size = own_peak() + (32 << 20)
    async with started(sys.executable, "-c", f"bytearray({size}).replace(b'x', b'y')") as run:
        await run.code()
        peak = run.process.usage().peak_memory
        assert peak is not None
        assert peak > size


async def test_the_peak_of_a_small_program_is_unknown() -> None:
    """execve(2) counts the memory of the service, which the child had before, as the program's."""
    async with started("true") as run:
        await run.code()
        assert run.process.usage().peak_memory is None


class ReadPeaks:
    """The service's own peak as it is read: each time from now on one more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, peak: int) -> None:
        self.peak = peak
        self.reads = 0
        monkeypatch.setattr("farhand_server.runs.process.meter.own_peak", self._read)

    def _read(self) -> int:
        self.reads += 1
        return self.peak


def used(peak: int) -> resource.struct_rusage:
    """Return what wait4(2) reports about a program with this peak, in KiB."""
    return resource.struct_rusage((0.0, 0.0, peak, *[0] * 13))


async def test_the_services_own_peak_is_read_for_all_programs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ReadPeaks(monkeypatch, 100 << 10)
    floors = PeakFloors(asyncio.get_running_loop())
    meters = [UsageMeter(floors.current()) for _ in range(10)]
    for meter in meters:
        meter.add(used(100))
        assert meter.usage().peak_memory is None
    assert own.reads == 1


async def test_a_peak_counts_if_it_is_above_the_services_own_at_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ReadPeaks(monkeypatch, 100 << 10)
    floors = PeakFloors(asyncio.get_running_loop())
    own.peak = 150 << 10
    small, large, later = (UsageMeter(floors.current()) for _ in range(3))
    small.add(used(150))
    large.add(used(160))
    later.add(used(160))
    assert small.usage().peak_memory is None
    assert large.usage().peak_memory == 160 << 10
    own.peak = 200 << 10  # the service has grown since these were started
    assert later.usage().peak_memory == 160 << 10
    third = UsageMeter(floors.current())
    third.add(used(200))
    assert third.usage().peak_memory is None


async def test_what_the_service_needs_later_is_not_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farhand_server.runs.process.meter.FLOOR_TIME", 0.0)
    own = ReadPeaks(monkeypatch, 100 << 10)
    floor = PeakFloors(asyncio.get_running_loop()).current()
    meter = UsageMeter(floor)
    async with asyncio.timeout(TIMEOUT):
        while not floor.is_read:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0)
    own.peak = 200 << 10
    meter.add(used(150))
    assert meter.usage().peak_memory == 150 << 10


async def test_a_meter_continues_from_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ReadPeaks(monkeypatch, 100 << 10)
    meter = UsageMeter(PeakFloors(asyncio.get_running_loop()).current())
    meter.add(used(120))
    snapshot = meter.snapshot()
    own.peak = 200 << 10
    again = UsageMeter.restore(snapshot)
    assert again.usage() == meter.usage() == ResourceUsage(0.0, 0.0, 120 << 10)
    assert again.snapshot() == snapshot
