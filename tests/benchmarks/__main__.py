"""Compares Farhand with OpenSSH and asyncssh on this machine: `python -m tests.benchmarks`, from the project's root.

Starts farhandd (core and edge, TLS, login by key), sshd and an asyncssh server on loopback, below a temporary
directory, and prints Markdown: medians, the ratio of Farhand to the others, and whether that reaches the targets. The
contestants take turns in each round: absolute figures drift by half from one hour to the next, only ratios within one
run mean anything. It takes about eight minutes; the machine should be otherwise idle.

The time that ssh loses on loopback to Nagle's algorithm (twice 44 ms per connection) and to its post-quantum key
exchange is shown by measuring with and without them: over a network both are a smaller part of the total.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from .clients import Clients
from .report import Results, as_json, markdown
from .servers import Servers, running_servers
from .terminals import Terminals
from .workload import Sample, Sizes, Workload
from .workloads import Bench

QUICK = Sizes(commands=4, stdout=1 << 20, shown=1_000_000, keys=10, keys_with_gaps=10, levels=(1, 4))
"""Only large enough to see that everything works; the numbers mean nothing."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code, which is 0 whatever the numbers are."""
    options = _parser().parse_args(arguments)
    sizes = QUICK if options.quick else Sizes(stdout=options.size << 20)
    rounds = 1 if options.quick else options.rounds
    results = asyncio.run(measure(sizes, rounds, options.only))
    print(markdown(results), end="")
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(results), indent=1) + "\n")
    return 0


async def measure(sizes: Sizes, rounds: int, only: str = "") -> list[Results]:
    """Return the results of the workloads that have `only` in their names."""
    with tempfile.TemporaryDirectory(prefix="farhand-benchmarks-") as directory:
        async with running_servers(Path(directory)) as servers, _master(servers) as control:
            clients = Clients(servers, control)
            workloads = [*Bench(clients, sizes).workloads(), *Terminals(clients, sizes).workloads()]
            return [await _measured(workload, rounds) for workload in workloads if only in workload.name]


async def _measured(workload: Workload, rounds: int) -> Results:
    samples: dict[str, list[Sample]] = {contestant: [] for contestant in workload.contestants}
    for number in range(rounds):
        print(f"{workload.name}: round {number + 1} of {rounds}", file=sys.stderr)
        for contestant, take in workload.contestants.items():
            samples[contestant].append(await take())
    return Results(workload, samples)


@contextlib.asynccontextmanager
async def _master(servers: Servers) -> AsyncIterator[Path]:
    """Hold an ssh master connection; yield its control socket."""
    control = servers.bench.directory / "control"
    master = await asyncio.create_subprocess_exec(
        *("ssh", "-F", str(servers.ssh_config), "-M", "-S", str(control), "bench", "echo ready; cat"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=servers.bench.environment,
    )
    assert master.stdout is not None
    try:
        # ssh listens on the control socket before it requests its own session.
        if await master.stdout.readline() != b"ready\n":
            raise RuntimeError("ssh could not log in; its output is above")
        yield control
    finally:
        await master.communicate(b"")  # ends its stdin, and with it `cat`


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="measurements of each contestant and workload (default 5)")
    add("--size", type=int, default=1024, metavar="MIB", help="MiB of stdout (default 1024)")
    add(
        "--only",
        default="",
        metavar="TEXT",
        help="only workloads with TEXT in their name: true, in flight, stdout, cold, key echo, cat, REPL",
    )
    add("--json", type=Path, metavar="FILE", help="write every sample there as well")
    add("--quick", action="store_true", help="try the whole with next to no work; the numbers mean nothing")
    return parser


if __name__ == "__main__":
    os.environ.pop("SSH_AUTH_SOCK", None)
    sys.exit(main(sys.argv[1:]))
