"""A login of which one bit is changed: none logs in, and the service goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from .harness import Campaign, Figure, Setting, none_of
from .raw import Flip, Key, Place, RawTLSClient, RefusedError
from .services import USER, client_of, network_service, service_pids

WAIT: Final = 3.0
"""Seconds that a client waits. A changed length makes the service wait for more bytes, which is no login."""

AT_ONCE: Final = 12

IGNORED: Final = range(16, 24)
"""Bits of the first record on the wire that nobody looks at: the last byte of its version, which "MUST be ignored for
all purposes" (RFC 8446, section 5.1). The headers of later records are authenticated."""


async def measure(setting: Setting) -> Sequence[Figure]:
    """Count the bits of a good login, then log in with each of them changed, or with some in the short form."""
    figures: list[Figure] = []
    async with network_service(setting.subdirectory("service")) as service:
        assert service.address is not None
        address, key = service.address, Key(service.directory / "key")
        pids = service_pids(service)
        sizes = await asyncio.to_thread(_sizes, address, key)
        for place, size in sizes.items():
            bits = [bit for bit in range(8 * size) if place in ("hello", "proof") or bit not in IGNORED]
            chosen = bits if setting.nightly else setting.chance.sample(bits, min(80, len(bits)))
            with ThreadPoolExecutor(AT_ONCE) as pool:
                results = await asyncio.gather(
                    *(
                        asyncio.get_running_loop().run_in_executor(pool, _log_in, address, key, Flip(place, bit))
                        for bit in chosen
                    )
                )
            through = [bit for bit, result in zip(chosen, results, strict=True) if result]
            figures.append(none_of(f"logins with a changed bit, {place}", len(through), len(chosen), note=str(through)))
        async with client_of(service) as client:
            done = await client.run(["true"])
        gone = set(pids) - set(service_pids(service))
        figures.append(none_of("processes of the service that have ended", len(gone), len(pids)))
        figures.append(none_of("services that do not serve afterwards", int(done.returncode != 0), 1))
        figures.append(none_of("tracebacks in the log", service.log.count("Traceback"), 1))
    return figures


def _sizes(address: tuple[str, int], key: Key) -> dict[Place, int]:
    """Return how many bytes a login has at each place. These vary by a few, as signatures and certificates do."""
    with RawTLSClient(address) as client:
        client.log_in(USER, key)
        return client.sizes


def _log_in(address: tuple[str, int], key: Key, flip: Flip) -> bool:
    """Return whether a login succeeds although a bit was changed on its way."""
    chance = random.Random(flip.bit)
    source = f"127.{chance.randrange(1, 250)}.{chance.randrange(250)}.{chance.randrange(1, 250)}"
    try:
        with RawTLSClient(address, source=source, timeout=WAIT, flip=flip) as client:
            client.log_in(USER, key)
            return client.sizes[flip.place] > flip.bit // 8  # otherwise this login had no such bit
    except (OSError, RefusedError, AssertionError, ValueError):
        return False


CAMPAIGN = Campaign("flips", "Logins of which one bit is changed.", measure, short=120, nightly=3 * 3600)
