"""Very many commands, and very much output: whether each byte of it is the right one."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from typing import Final

from farhand_client import Client
from tests.benchmarks.client import in_flight

from .harness import Campaign, Figure, Setting, at_least, none_of
from .services import client_of, network_service

BLOCK: Final = 1 << 20
AT_ONCE: Final = 16

WRITE: Final = f"""\
import random, sys
block = random.Random(int(sys.argv[1])).randbytes({BLOCK} - 8)
for number in range(int(sys.argv[2])):
    sys.stdout.buffer.write(number.to_bytes(8, "big") + block)
"""
"""Each block begins with its number, so that no two are the same."""


async def measure(setting: Setting) -> Sequence[Figure]:
    """Run the commands, then the streams."""
    commands, mebibytes = setting.size(400, 100_000), setting.size(128, 100 << 10)
    async with network_service(setting.subdirectory("service")) as service, client_of(service) as client:
        start_time = time.monotonic()
        wrong = await _commands(client, commands, setting)
        rate = commands / (time.monotonic() - start_time)
        start_time = time.monotonic()
        mismatches = await _stream(client, mebibytes, setting.seed)
        speed = mebibytes / (time.monotonic() - start_time)
    return [
        none_of("commands with another output or status", wrong, commands),
        Figure("commands", f"{rate:,.0f} a second"),
        none_of("MiB with another content", mismatches, mebibytes),
        at_least("one stream", speed, 200, "MiB/s"),
    ]


async def _commands(client: Client, count: int, setting: Setting) -> int:
    """Run commands with random arguments; return how many were not answered exactly."""
    chance = setting.chance
    wrong = 0

    async def one() -> None:
        nonlocal wrong
        text = bytes(chance.randrange(1, 256) for _ in range(chance.randrange(200)))
        error = b"%d" % chance.randrange(1 << 30)
        code = chance.randrange(256)
        script = 'printf %s "$1"; printf %s "$2" >&2; exit $3'
        done = await client.run(["sh", "-c", script, "sh", text, error, str(code)])
        wrong += (done.stdout, done.stderr, done.returncode) != (text, error, code)

    await in_flight(count, AT_ONCE, one)
    return wrong


async def _stream(client: Client, blocks: int, seed: int) -> int:
    """Stream blocks; return how many did not arrive, or not at their place."""
    right, number, pending = 0, 0, bytearray()
    block = random.Random(seed).randbytes(BLOCK - 8)
    async with client.start([sys.executable, "-c", WRITE, str(seed), str(blocks)]) as run:
        async for chunk in run.stdout:
            pending += chunk
            while len(pending) >= BLOCK:
                right += pending[:8] == number.to_bytes(8, "big") and pending[8:BLOCK] == block
                del pending[:BLOCK]
                number += 1
        result = await run.wait()
    assert result.returncode == 0, result
    return max(blocks, number) - right + bool(pending)


CAMPAIGN = Campaign("volume", "Commands and streams, compared byte by byte.", measure, short=60, nightly=3 * 3600)
