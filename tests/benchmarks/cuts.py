"""A gigabyte of output through fifty cuts: `python -m tests.benchmarks.cuts [--size MiB] [--cuts N] [--seed N]`.

Starts farhandd (core and edge, TLS, login by key) on loopback, and a proxy in front of it that ends, resets or silences
connections after a random number of bytes, or kills the edge with SIGKILL. Prints what happened, and exits with 0 if
every byte arrived in order and once and the exit code is the program's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from farhand_client import Exited
from tests.support.faulty_proxy import (
    Kind,
    check_nothing_is_left,
    client_through,
    faulty_proxy,
    network_service,
    random_faults,
)

CODE = 7
WRITE = f"""\
import random, sys
chance = random.Random(int(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    sys.stdout.buffer.write(chance.randbytes(1 << 20))
sys.exit({CODE})
"""


def expected(seed: int, size: int) -> str:
    """Return the hash of the program's output."""
    chance, digest = random.Random(seed), hashlib.sha256()
    for _ in range(size):
        digest.update(chance.randbytes(1 << 20))
    return digest.hexdigest()


async def measure(size: int, cuts: int, seed: int) -> bool:
    """Run it once; return whether everything was correct."""
    shares: dict[Kind, int] = {"fin": 4, "rst": 4, "vanish": 3, "edge": 1}
    faults = random_faults(seed, cuts, 2 * (size << 20) // cuts, shares)  # half of this on average
    digest, count = hashlib.sha256(), 0
    with tempfile.TemporaryDirectory(prefix="farhand-cuts-") as name:
        directory = Path(name)
        async with network_service(directory) as service, faulty_proxy(service, iter(faults)) as line:
            start_time = time.monotonic()
            command = [sys.executable, "-c", WRITE, str(seed), str(size)]
            async with client_through(line, directory) as client, client.start(command) as run:
                while chunk := await run.stdout.read(1 << 20):
                    digest.update(chunk)
                    count += len(chunk)
                result = await run.wait()
            seconds = time.monotonic() - start_time
            await check_nothing_is_left(service)
    kinds = Counter(fault.kind for fault in line.made)
    right = digest.hexdigest() == expected(seed, size) and result.outcome == Exited(code=CODE)
    print(f"seed        {seed}")
    print(f"cuts        {len(line.made)}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    print(f"bytes       {count} of {size << 20}; the service counts {result.stdout}")
    print(f"sha256      {digest.hexdigest()}")
    print(f"expected    {expected(seed, size)}")
    print(f"outcome     {result.outcome}")
    print(f"seconds     {seconds:.1f}")
    print("right" if right else "WRONG")
    return right


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cuts", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, metavar="MiB", help="MiB of output (default 1024)")
    parser.add_argument("--cuts", type=int, default=50, metavar="N", help="maximum number of cuts (default 50)")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="repeat the cuts of this seed")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
    return 0 if asyncio.run(measure(options.size, options.cuts, seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
