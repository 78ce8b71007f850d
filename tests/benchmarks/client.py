"""The API clients, each measured in its own process: `python -m tests.benchmarks.client SIDE WORKLOAD NUMBER… LOGIN…`.

    runs        COUNT IN_FLIGHT   seconds for COUNT × `true`
    stdout      BYTES             seconds
    two         BYTES             what the slower of two streams has when the faster has all, from 0 to 1
    latency     COUNT BESIDE      seconds within which 99 of 100 `true` are over; BESIDE = 1: while a stream runs
    cold-hosts  COUNT             seconds for COUNT connections, each with a login and `hostname`
    hosts       COUNT             seconds for `hostname` on each of COUNT connections that are there
    connections COUNT IN_FLIGHT   seconds for COUNT logins
    idle        COUNT             nothing; prints `ready` with COUNT connections, and waits for the end of stdin
    cold                          nothing: its whole process is measured; after LOGIN comes a command of one word
    keys        COUNT GAP SCRIPT  µs from a key to its echo, with GAP seconds between two keys; `farhand` alone

SIDE and LOGIN are `farhand` and HOST KEY, or `asyncssh` and PORT USER KEY HOST_KEY. Prints that number, without the
start and the login unless they are the workload, and the client's CPU seconds meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median

from .on_terminal import WARM_UP as KEYS_BEFORE
from .sides import AsyncsshSide, Connection, FarhandSide, Side

WARM_UP = 64
"""Commands, or bytes."""

CONNECTING = 16
"""Logins at once, where many connections have to be there: servers refuse more (sshd's MaxStartups)."""

ENDLESS = 1 << 40
"""Bytes of a stream that is stopped before its end."""


async def in_flight(count: int, limit: int, one: Callable[[], Awaitable[None]]) -> None:
    """Return when `count` calls of `one` are done, with `limit` of them running at any time."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await one()

    await asyncio.gather(*(work() for _ in range(limit)))


async def _runs(connection: Connection, count: int, limit: int) -> None:
    await in_flight(count, limit, lambda: connection.run("true"))


async def _stdout(connection: Connection, size: int) -> None:
    received = 0

    def count(some: int) -> None:
        nonlocal received
        received += some

    await connection.stream(size, count)
    assert received == size


async def _two(connection: Connection, size: int) -> float:
    got = [0, 0]
    first: list[float] = []

    async def one(at: int) -> None:
        def count(some: int) -> None:
            got[at] += some

        await connection.stream(size, count)
        first.append(min(got) / size)

    await asyncio.gather(one(0), one(1))
    return first[0]


async def _latency(connection: Connection, count: int, beside: int) -> float:
    began = asyncio.Event()
    stream = asyncio.create_task(connection.stream(ENDLESS, lambda _: began.set())) if beside else None
    try:
        if stream is not None:
            await asyncio.wait([stream, asyncio.ensure_future(began.wait())], return_when=asyncio.FIRST_COMPLETED)
        took = []
        for _ in range(count):
            start_time = time.perf_counter()
            await connection.run("true")
            took.append(time.perf_counter() - start_time)
        assert stream is None or not stream.done()
    finally:
        if stream is not None:
            stream.cancel()
            await asyncio.wait([stream])
    return sorted(took)[(99 * count) // 100]


async def _connections(side: Side, count: int, limit: int) -> None:
    async def one() -> None:
        async with side.connect():
            pass

    await in_flight(count, limit, one)


async def _cold_hosts(side: Side, count: int) -> None:
    async def one() -> None:
        async with side.connect() as connection:
            await connection.run("hostname")

    await in_flight(count, count, one)


async def _held(side: Side, count: int, stack: contextlib.AsyncExitStack) -> list[Connection]:
    connections: list[Connection] = []

    async def one() -> None:
        connections.append(await stack.enter_async_context(side.connect()))

    await in_flight(count, min(count, CONNECTING), one)
    return connections


async def _keys(count: str, gap: str, script: str, host: str, key: str) -> tuple[float, float]:
    from farhand_client import TerminalRequest, WindowSize, connect

    terminal = TerminalRequest(name="xterm", size=WindowSize(columns=80, rows=24))
    took: list[int] = []
    async with (
        connect(host, identities=[key]) as client,
        client.start(script, shell=True, terminal=terminal) as run,
    ):
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


NUMBERS = {"runs": 2, "stdout": 1, "two": 1, "latency": 2, "cold-hosts": 1, "hosts": 1, "connections": 2, "idle": 1}


async def _main(contestant: str, workload: str, *arguments: str) -> None:
    if workload == "keys":
        print(*await _keys(*arguments))
        return
    count = NUMBERS.get(workload, 0)
    numbers, login = list(map(int, arguments[:count])), list(arguments[count:])
    *login, command = login if workload == "cold" else [*login, "true"]
    side: Side = FarhandSide(*login) if contestant == "farhand" else AsyncsshSide(*login)
    async with contextlib.AsyncExitStack() as stack:
        if workload == "cold":
            await (await _held(side, 1, stack))[0].run(command)
            return
        if workload == "idle":
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            await _held(side, numbers[0], stack)
            print("ready", flush=True)
            await asyncio.to_thread(os.read, 0, 1)
            return
        measure = await _prepared(side, workload, numbers, stack)
        start_time, cpu = time.perf_counter(), time.process_time()
        number = await measure()
        seconds = time.perf_counter() - start_time
        print(seconds if number is None else number, time.process_time() - cpu)


async def _prepared(
    side: Side, workload: str, numbers: list[int], stack: contextlib.AsyncExitStack
) -> Callable[[], Awaitable[float | None]]:
    """Do what is not measured, and return what is: it returns the workload's number, or None if that is its time."""
    if workload == "connections":
        await _connections(side, 1, 1)
        return partial(_connections, side, *numbers)
    if workload == "cold-hosts":
        await _connections(side, 1, 1)
        return partial(_cold_hosts, side, *numbers)
    if workload == "hosts":
        connections = await _held(side, numbers[0], stack)
        await connections[0].run("hostname")

        async def each() -> None:
            await asyncio.gather(*(connection.run("hostname") for connection in connections))

        return each
    workloads: dict[str, Callable[..., Awaitable[float | None]]] = {
        "runs": _runs,
        "stdout": _stdout,
        "two": _two,
        "latency": _latency,
    }
    on_one = workloads[workload]
    (connection,) = await _held(side, 1, stack)
    # Warm up both sides once, with the smallest workload that uses everything.
    if workload == "latency":
        await _runs(connection, WARM_UP, 1)
    else:
        await on_one(connection, *(min(WARM_UP, number) for number in numbers))
    return partial(on_one, connection, *numbers)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
