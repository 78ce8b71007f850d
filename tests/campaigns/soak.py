"""Hours of ordinary use: whether memory, descriptors and tasks return to where they were."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from farhand_client import PIPE, Client, CommandTimeout
from tests.support.processes import children, descriptors, resident
from tests.support.service import Service

from .harness import Campaign, Figure, Setting, at_most, none_of
from .services import client_of, network_service, service_pids

AT_ONCE: Final = 8
SETTLE: Final = 3.0
"""Seconds after which nothing of ended runs is under way any more: `runs.linger`, twice."""


async def measure(setting: Setting) -> Sequence[Figure]:
    """Use everything for a while, note memory every now and then, and compare."""
    seconds, interval = setting.size(20, 3600), setting.size(2, 30)
    # With few kept runs the service soon keeps as many as it ever will.
    config = "[runs]\nkept_runs = 20\n[history]\nmax_runs = 200\n"
    failed = 0
    async with network_service(setting.subdirectory("service"), config) as service:
        await _use(service, setting.size(12, 300), setting.seed)  # until everything is as large as it gets
        await asyncio.sleep(SETTLE)
        before = _counts(service)
        memory: list[tuple[float, float]] = []
        start_time = time.monotonic()
        while (passed := time.monotonic() - start_time) < seconds:
            failed += await _use(service, interval, setting.seed + len(memory))
            memory.append((passed / 3600, sum(map(resident, service_pids(service))) / 2**20))
        await asyncio.sleep(SETTLE)
        after = _counts(service)
    return [
        none_of("failures of ordinary use", failed, len(memory) * AT_ONCE),
        _slope_figure(memory, setting),
        Figure("memory", f"{memory[0][1]:.1f} MiB at first, {memory[-1][1]:.1f} MiB at last"),
        Figure("descriptors", f"{before[0]} before, {after[0]} after", "no more", met=after[0] <= before[0]),
        Figure("children", f"{before[1]} before, {after[1]} after", "no more", met=after[1] <= before[1]),
        none_of("tracebacks in the log", service.log.count("Traceback"), 1),
    ]


def _slope_figure(memory: Sequence[tuple[float, float]], setting: Setting) -> Figure:
    if setting.nightly:
        return at_most("slope of memory", _slope(memory), 1, "MiB an hour")
    return Figure("slope of memory", "too short to tell", "≤ 1 MiB an hour in the nightly form")


def _counts(service: Service) -> tuple[int, int]:
    """Return the descriptors of core and edge, and the core's children."""
    return sum(map(descriptors, service_pids(service))), len(children(service.process.pid))


async def _use(service: Service, seconds: float, seed: int) -> int:
    """Let clients come, run something, and go; return how many of them failed."""
    until = time.monotonic() + seconds
    results = await asyncio.gather(*(_client(service, until, seed * AT_ONCE + n) for n in range(AT_ONCE)))
    return sum(results)


async def _client(service: Service, until: float, seed: int) -> int:
    chance = random.Random(seed)
    while time.monotonic() < until:
        try:
            async with client_of(service) as client:
                for _ in range(chance.randrange(1, 10)):
                    await _something(client, chance)
        except Exception as error:  # noqa: BLE001  # counted, whatever it is
            print(f"soak: {type(error).__name__}: {error}")
            return 1
    return 0


async def _something(client: Client, chance: random.Random) -> None:
    match chance.randrange(7):
        case 0:
            assert (await client.run(["sh", "-c", "exit 3"])).returncode == 3
        case 1:
            size = chance.randrange(1 << 20)
            assert len((await client.run(["head", "-c", str(size), "/dev/zero"])).stdout) == size
        case 2:
            data = chance.randbytes(chance.randrange(1 << 16))
            assert (await client.run(["cat"], input=data)).stdout == data
        case 3:
            try:
                await client.run(["sleep", "60"], timeout=0.05, kill_after=0.1)
            except CommandTimeout:
                return
            raise AssertionError("sleep has ended")
        case 4:
            async with client.start(["cat"], stdin=PIPE) as run:
                run.stdin.write(b"x")
                await run.stdout.read_ready()
                await run.stop()
        case 5:
            await client.run(["true"], spool=1 << 16)
        case _:
            await client.runs(ended=True)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line that fits best (least squares)."""
    if len(points) < 2:
        return 0.0
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


CAMPAIGN = Campaign("soak", "Ordinary use for a long time.", measure, short=90, nightly=5400)
