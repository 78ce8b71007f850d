"""Edges and cores killed, and programs upgraded, while runs write and clients read."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import farhand_client
from farhand_client import Client, ConnectionLost, FarhandError, Lost
from tests.support.processes import session_members
from tests.support.service import Service, running_service
from tests.support.upgrades import edge_of, upgrade, workers_of

from .harness import Campaign, Figure, Setting, none_of
from .services import client_of, network_service

LINES: Final = 20_000
WRITE: Final = f"""\
i=0
while [ $i -lt {LINES} ]; do
    echo $i of $1; i=$((i+1)); [ $((i % 1000)) != 0 ] || sleep 0.1
done
exit $2
"""
"""Writes numbered lines for about two seconds."""


async def measure(setting: Setting) -> Sequence[Figure]:
    """Kill edges and upgrade under live runs, whose output must be whole; then kill cores, which loses runs."""
    edges, upgrades, cores = setting.size(6, 200), setting.size(2, 20), setting.size(2, 50)
    runs = setting.size(10, 50)
    results: Counter[str] = Counter()
    done_upgrades = killed = 0
    async with network_service(setting.subdirectory("service")) as service, client_of(service) as client:
        stop = asyncio.Event()
        working = [asyncio.create_task(_keep_running(client, results, stop, number)) for number in range(runs)]
        chance = setting.chance
        for number in range(max(edges, upgrades)):
            await asyncio.sleep(chance.uniform(0.1, 1.5))
            if number < edges:
                killed += await _kill_edge(service, worker=number % 2 == 1)
            if number < upgrades:
                done_upgrades += (await upgrade(service)).code == 0
        stop.set()
        await asyncio.gather(*working)
        whole = results.total()
    after_cores, survivors = await _cores(setting, cores)
    return [
        none_of("runs with another output or status", results["wrong"], whole),
        none_of("runs with an error", results["error"], whole),
        Figure("kills of the edge or of a worker of it", f"{killed}", f"≥ {edges}", met=killed >= edges),
        Figure("upgrades", f"{done_upgrades}", f"{upgrades}", met=done_upgrades == upgrades, correctness=True),
        none_of("successes reported for runs of a killed core", after_cores["false success"], cores),
        none_of("runs of a killed core without a typed end", after_cores["untyped"], cores),
        none_of("runs of a killed core whose processes survived", survivors, cores),
        none_of("cores after which the next does not start or has forgotten the run", after_cores["forgotten"], cores),
    ]


async def _keep_running(client: Client, results: Counter[str], stop: asyncio.Event, number: int) -> None:
    """Run the writer again and again, and compare what it wrote."""
    chance = random.Random(number)
    while not stop.is_set():
        name, code = f"{number}-{chance.randrange(1 << 30)}", chance.randrange(256)
        expected = hashlib.sha256(b"".join(b"%d of %s\n" % (line, name.encode()) for line in range(LINES))).digest()
        digest = hashlib.sha256()
        try:
            async with client.start(["sh", "-c", WRITE, "sh", name, str(code)]) as run:
                async for chunk in run.stdout:
                    digest.update(chunk)
                result = await run.wait()
        except FarhandError as error:
            print(f"kills: {type(error).__name__}: {error}")
            results["error"] += 1
            continue
        results["right" if (digest.digest(), result.returncode) == (expected, code) else "wrong"] += 1


async def _kill_edge(service: Service, *, worker: bool) -> bool:
    """Kill the edge, or a worker of it, as soon as there is one; wait until there is another. Return whether it was
    killed."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(IndexError, OSError):
                pid = workers_of(service)[0] if worker else edge_of(service)
                os.kill(pid, signal.SIGKILL)
                break
            await asyncio.sleep(0.02)
        while True:
            with contextlib.suppress(IndexError, OSError):
                if edge_of(service) != pid and (workers := workers_of(service)) and pid not in workers:
                    return True
            await asyncio.sleep(0.02)  # there is no event for another process's child


async def _cores(setting: Setting, count: int) -> tuple[Counter[str], int]:
    """Kill cores while a run is under way, start the next, and ask it what became of the run."""
    results: Counter[str] = Counter()
    survivors = 0
    directory = setting.subdirectory("cores")
    chance = setting.chance
    for _ in range(count):
        async with running_service(directory) as service:
            pid, run_id, result = await _ended_with_its_core(service, chance.uniform(0, 0.3))
        results[result] += 1
        async with running_service(directory) as service:
            survivors += await _survives(pid)
            results["remembered" if await _is_lost(service, run_id) else "forgotten"] += 1
    return results, survivors


async def _ended_with_its_core(service: Service, delay: float) -> tuple[int, str, str]:
    """Start a run, kill the core; return the run's pid, its id, and what its client was told."""
    async with contextlib.AsyncExitStack() as left:
        client = await left.enter_async_context(farhand_client.connect(service.host, reconnect=0))
        run = await left.enter_async_context(client.start(["sh", "-c", "echo $$; exec sleep 600"]))
        pid = int((await run.stdout.read_ready())[0])
        waiting = asyncio.create_task(run.wait())
        await asyncio.sleep(delay)
        service.process.kill()
        await service.process.wait()
        try:
            result = await asyncio.wait_for(waiting, 30)
            told = "false success" if result.returncode == 0 else "typed"
        except ConnectionLost:
            told = "typed"
        except TimeoutError:
            told = "untyped"
        return pid, run.id, told


async def _survives(pid: int) -> bool:
    """Return whether a process of the session still lives a few seconds after the next core's start."""
    until = time.monotonic() + 5
    while session_members(pid):
        if time.monotonic() > until:
            return True
        await asyncio.sleep(0.05)
    return False


async def _is_lost(service: Service, run_id: str) -> bool:
    """Return whether the service says that the run was lost."""
    async with farhand_client.connect(service.host) as client:
        return any(each.id == run_id and isinstance(each.outcome, Lost) for each in await client.runs(ended=True))


CAMPAIGN = Campaign("kills", "Edges and cores killed, and upgrades, under live runs.", measure, short=120, nightly=5400)
