"""Very many runs that all stream at the same moment."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from farhand_client import PIPE, Client

from .harness import Campaign, Figure, Setting, none_of
from .services import client_of, network_service

PER_CONNECTION: Final = 250
"""Less than `runs.max_runs_per_connection`."""


async def measure(setting: Setting) -> Sequence[Figure]:
    """Start all runs, let all of them begin to write at once, and compare what arrives."""
    count, lines = setting.size(150, 2000), setting.size(20_000, 100_000)
    expected = hashlib.sha256(await asyncio.to_thread(_expected, lines)).digest()
    config = f"[runs]\nmax_runs = {count + 100}\n"
    ready = asyncio.Semaphore(0)
    go_on = asyncio.Event()
    errors: list[str] = []

    async def one(client: Client) -> None:
        try:
            script = f"echo ready >&2; read go_on; exec seq {lines}"
            async with client.start(["sh", "-c", script], stdin=PIPE) as run:
                try:
                    assert run.stderr is not None
                    await run.stderr.read_ready()
                finally:
                    ready.release()
                await go_on.wait()
                run.stdin.write(b"\n")
                digest = hashlib.sha256()
                async for chunk in run.stdout:
                    digest.update(chunk)
                result = await run.wait()
            if result.returncode != 0 or digest.digest() != expected:
                errors.append(f"ended with {result.outcome} and other output")
        except Exception as error:  # noqa: BLE001  # each is one error of one run
            errors.append(f"{type(error).__name__}: {error}")

    async with network_service(setting.subdirectory("service"), config) as service, contextlib.AsyncExitStack() as held:
        connections = -(-count // PER_CONNECTION)
        clients = [await held.enter_async_context(client_of(service)) for _ in range(connections)]
        runs = [asyncio.create_task(one(clients[number % connections])) for number in range(count)]
        for _ in runs:
            await ready.acquire()
        start_time = time.monotonic()
        go_on.set()
        await asyncio.gather(*runs)
        seconds = time.monotonic() - start_time
    size = count * len(await asyncio.to_thread(_expected, lines)) / 2**20
    return [
        none_of("runs with an error or other bytes", len(errors), count, note=errors[0] if errors else ""),
        Figure("all of them together", f"{size:,.0f} MiB at {size / seconds:,.0f} MiB/s"),
    ]


def _expected(lines: int) -> bytes:
    return subprocess.run(["seq", str(lines)], capture_output=True, check=True).stdout


CAMPAIGN = Campaign("streaming", "Runs that all stream at the same moment.", measure, short=60, nightly=1800)
