"""The API clients, each measured in its own process: `python -m tests.benchmarks.client CONTESTANT WORKLOAD …`.

    farhand  runs   COUNT IN_FLIGHT HOST KEY
    farhand  stdout BYTES HOST KEY
    farhand  keys   COUNT GAP SCRIPT HOST KEY
    asyncssh runs   COUNT IN_FLIGHT PORT USER KEY HOST_KEY
    asyncssh stdout BYTES PORT USER KEY HOST_KEY
    asyncssh cold   PORT USER KEY HOST_KEY

prints two numbers: the seconds taken over one connection, without the start and the login, and the client's CPU
seconds meanwhile. The first number of `keys` is the µs from a key to its echo; GAP is the seconds between two keys.
`cold` prints nothing: its whole process is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from .on_terminal import WARM_UP as KEYS_BEFORE

if TYPE_CHECKING:
    import asyncssh

    from farhand_client import Client

WARM_UP = 64
"""Commands, or bytes."""


async def in_flight(count: int, limit: int, one: Callable[[], Awaitable[None]]) -> None:
    """Return when `count` calls of `one` are done, with `limit` of them running at any time."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await one()

    await asyncio.gather(*(work() for _ in range(limit)))


@contextlib.asynccontextmanager
async def _farhand(host: str, key: str) -> AsyncIterator[Client]:
    from farhand_client import connect

    async with connect(host, identities=[key]) as client:
        yield client


async def _farhand_runs(count: int, limit: int, client: Client) -> None:
    async def one() -> None:
        done = await client.run(["true"])
        assert done.returncode == 0

    await in_flight(count, limit, one)


async def _farhand_stdout(size: int, client: Client) -> None:
    received = 0
    async with client.start(["head", "-c", str(size), "/dev/zero"]) as run:
        async for chunk in run.stdout:
            received += len(chunk)
    assert received == size


@contextlib.asynccontextmanager
async def _asyncssh(port: str, user: str, key: str, host_key: str) -> AsyncIterator[asyncssh.SSHClientConnection]:
    import asyncssh

    known = asyncssh.import_known_hosts(f"[127.0.0.1]:{port} {host_key}\n")
    async with asyncssh.connect(
        "127.0.0.1", int(port), username=user, client_keys=[key], known_hosts=known, config=None
    ) as connection:
        yield connection


async def _asyncssh_runs(count: int, limit: int, connection: asyncssh.SSHClientConnection) -> None:
    async def one() -> None:
        done = await connection.run("true")
        assert done.returncode == 0

    await in_flight(count, limit, one)


async def _asyncssh_stdout(size: int, connection: asyncssh.SSHClientConnection) -> None:
    received = 0
    async with connection.create_process(f"head -c {size} /dev/zero", encoding=None) as process:
        while chunk := await process.stdout.read(1 << 18):
            received += len(chunk)
    assert received == size


async def _farhand_keys(count: str, gap: str, script: str, host: str, key: str) -> tuple[float, float]:
    from farhand_client import TerminalRequest, WindowSize

    terminal = TerminalRequest(name="xterm", size=WindowSize(columns=80, rows=24))
    took: list[int] = []
    async with _farhand(host, key) as client, client.start(script, shell=True, terminal=terminal) as run:
        assert run.stdin is not None
        output = b""
        while not output.endswith(b"ready"):
            output += b"".join(await run.stdout.read_ready())
        cpu = time.process_time()
        for _ in range(KEYS_BEFORE + int(count)):
            if float(gap) and len(took) >= KEYS_BEFORE:
                await asyncio.sleep(float(gap))
            start_time = time.perf_counter_ns()
            run.stdin.write(b"k")
            (echo,) = await run.stdout.read_ready()
            took.append(time.perf_counter_ns() - start_time)
            assert echo == b"k"
        cpu = time.process_time() - cpu
        await run.stop()
    return median(took[KEYS_BEFORE:]) / 1000, cpu


async def _main(contestant: str, workload: str, *arguments: str) -> None:
    if (contestant, workload) == ("asyncssh", "cold"):
        async with _asyncssh(*arguments) as connection:
            await connection.run("true", check=True)
        return
    if workload == "keys":
        print(*await _farhand_keys(*arguments))
        return
    numbers = 2 if workload == "runs" else 1
    connecting: Any = _farhand if contestant == "farhand" else _asyncssh
    measured: Any = {
        ("farhand", "runs"): _farhand_runs,
        ("farhand", "stdout"): _farhand_stdout,
        ("asyncssh", "runs"): _asyncssh_runs,
        ("asyncssh", "stdout"): _asyncssh_stdout,
    }[contestant, workload]
    async with connecting(*arguments[numbers:]) as connection:
        # Warm up both sides once, with the smallest workload that uses everything.
        await measured(*(min(WARM_UP, int(number)) for number in arguments[:numbers]), connection)
        start_time, cpu = time.perf_counter(), time.process_time()
        await measured(*map(int, arguments[:numbers]), connection)
        print(time.perf_counter() - start_time, time.process_time() - cpu)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
