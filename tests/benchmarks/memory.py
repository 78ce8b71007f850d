"""What connections and runs cost a service in memory, and what one more costs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from farhand_client import Client, connect
from tests.support.processes import children

from .clients import Clients
from .workload import ASYNCSSH, FARHAND, OPENSSH, Goal, Sample, Sizes, Workload

MAX_SLOPE_RUNS: Final = 2000
"""Runs in the table of slopes: each is a process of its own."""

FEW: Final = 50
"""Connections to sshd, of which each is two processes."""

PROBES: Final = 50
"""Commands timed at each point of the table of slopes."""


@dataclass(frozen=True)
class Point:
    """What a service takes with `count` connections or runs: memory in KiB of its processes together, and the median
    time of `true` on another connection in ms."""

    kind: str
    count: int
    memory: float
    latency: float


class Memory:
    """The workload of idle connections, and the table of slopes."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes

    def workloads(self) -> list[Workload]:
        """Return the workload of idle connections."""
        return [
            Workload(
                f"memory of the service for one idle connection, of {self._sizes.idle} (sshd: of {FEW})",
                "KiB",
                False,
                {
                    FARHAND: partial(self._idle, FARHAND, self._sizes.idle),
                    ASYNCSSH: partial(self._idle, ASYNCSSH, self._sizes.idle),
                    OPENSSH: partial(self._idle, OPENSSH, min(FEW, self._sizes.idle)),
                },
                [Goal(FARHAND, 32)],
                digits=1,
            )
        ]

    async def _idle(self, contestant: str, count: int) -> Sample:
        root = self._root(contestant)
        async with self._connected(contestant, 1):  # what only the first needs
            before = memory_of(tree(root))
            async with self._connected(contestant, count):
                return Sample((memory_of(tree(root)) - before) / count)

    def _root(self, contestant: str) -> int:
        servers = self._clients.servers
        return servers.farhand.process.pid if contestant == FARHAND else servers.pids[contestant]

    @contextlib.asynccontextmanager
    async def _connected(self, contestant: str, count: int) -> AsyncIterator[None]:
        servers = self._clients.servers
        login = [servers.host, str(servers.bench.key)] if contestant == FARHAND else [*self._clients.asyncssh_files]
        if contestant == OPENSSH:  # the same client, so that only the servers differ
            login[0] = str(servers.ssh.port)
        side = "farhand" if contestant == FARHAND else "asyncssh"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.benchmarks.client", side, "idle", str(count), *login),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=servers.bench.environment,
        )
        try:
            assert process.stdout is not None
            if await process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"not all of {count} connections to {contestant} could be made")
            yield
        finally:
            await process.communicate(b"")

    async def slopes(self) -> list[Point]:
        """Return what the service takes for each number of connections and of runs in `Sizes.slope`."""
        servers, bench = self._clients.servers, self._clients.servers.bench
        points = []
        async with connect(servers.host, identities=[bench.key], known_hosts=bench.known_hosts) as client:
            await self._latency(client)  # warms up
            for count in self._sizes.slope:
                async with self._connected(FARHAND, count):
                    points.append(await self._point("connections", count, client))
            for count in sorted({min(count, MAX_SLOPE_RUNS) for count in self._sizes.slope}):
                async with _running(client, count):
                    points.append(await self._point("runs", count, client))
        return points

    async def _point(self, kind: str, count: int, client: Client) -> Point:
        latency = await self._latency(client)
        return Point(kind, count, memory_of(tree(self._root(FARHAND), commands=False)), latency)

    async def _latency(self, client: Client) -> float:
        took = []
        for _ in range(PROBES):
            start_time = time.perf_counter()
            await client.run(["true"])
            took.append(1000 * (time.perf_counter() - start_time))
        return median(took)


@contextlib.asynccontextmanager
async def _running(client: Client, count: int) -> AsyncIterator[None]:
    """Keep `count` runs, each of which has written a line and sleeps."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            run = await stack.enter_async_context(client.start(["sh", "-c", "echo ready; exec sleep 1000"]))
            assert await anext(aiter(run.stdout)) == b"ready\n"
        yield


def tree(root: int, *, commands: bool = True) -> list[int]:
    """Return a process and its descendants; without `commands` only those that are programs of Farhand."""
    pids = [root]
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            pids += [child for child in children(pid) if commands or _is_python(child)]
    return pids


def memory_of(pids: Iterable[int]) -> float:
    """Return the KiB of memory of processes, what they share counted once (PSS, proc_pid_smaps_rollup)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return float(total)


def _is_python(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink() == Path(sys.executable).resolve()
    return False
