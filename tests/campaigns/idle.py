"""Many clients that are logged in and say nothing: what each costs, and what `true` takes meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from farhand_client import Client
from tests.support.processes import resident
from tests.support.service import Service

from .harness import Campaign, Figure, Setting, at_most, none_of, quantile
from .raw import Key, RawTLSClient
from .services import USER, client_of, network_service, service_pids


async def measure(setting: Setting) -> Sequence[Figure]:
    """Hold the connections, and run `true` again and again."""
    count, probes = setting.size(300, 10_000), setting.size(40, 2000)
    config = f"[edge]\nconnections = {count + 200}\n"
    async with network_service(setting.subdirectory("service"), config) as service, client_of(service) as client:
        base = _memory(service)
        alone = await _true(client, probes)
        with contextlib.ExitStack() as held:
            key = Key(service.directory / "key")
            failed = await asyncio.to_thread(_open, service, key, count, held)
            each = (_memory(service) - base) / max(1, count - failed) / 1024
            meanwhile = await _true(client, probes)
    return [
        none_of("logins refused", failed, count),
        at_most(f"memory of the service for each of {count:,}", each, 32, "KiB"),
        at_most("`true` meanwhile, 99 of 100", 1e3 * quantile(meanwhile, 0.99), 50, "ms"),
        Figure("`true` with no other connection, 99 of 100", f"{1e3 * quantile(alone, 0.99):.1f} ms"),
    ]


def _open(service: Service, key: Key, count: int, held: contextlib.ExitStack) -> int:
    """Open and log in; return how many failed."""
    assert service.address is not None
    address = service.address

    def one(_: int) -> RawTLSClient | None:
        try:
            client = RawTLSClient(address)
        except OSError:
            return None
        try:
            client.log_in(USER, key)
        except Exception:  # noqa: BLE001  # each failure counts, whatever it is
            client.close()
            return None
        return client

    with ThreadPoolExecutor(16) as pool:
        clients = [held.enter_context(client) for client in pool.map(one, range(count)) if client is not None]
    return count - len(clients)


def _memory(service: Service) -> int:
    return sum(map(resident, service_pids(service)))


async def _true(client: Client, count: int) -> list[float]:
    took = []
    for _ in range(count):
        start_time = time.perf_counter()
        done = await client.run(["true"])
        took.append(time.perf_counter() - start_time)
        assert done.returncode == 0
    return took


CAMPAIGN = Campaign("idle", "Clients that are logged in and say nothing.", measure, short=60, nightly=1800)
