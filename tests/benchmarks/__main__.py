"""Compares Farhand with OpenSSH, rsync, asyncssh and Dropbear on this machine: `python -m tests.benchmarks`, from the
project's root.

Starts farhandd (core and edge, TLS, login by key), sshd, an asyncssh server and, where it is installed, Dropbear on
loopback, below a temporary directory, and prints Markdown: medians, ratios, the goals and whether they are reached. The
contestants take turns in each round: absolute figures drift by half from one hour to the next, only ratios within one
run mean anything. It takes about 25 minutes; the machine should be otherwise idle. On a shared machine, stolen time is
booked as CPU time too. With --write the page, the JSON and the chart beside this module are replaced.

The time that ssh loses on loopback to Nagle's algorithm (twice 44 ms per connection) and to its post-quantum key
exchange is shown by measuring with and without them: over a network both are a smaller part of the total.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from .chart import draw
from .clients import Clients
from .commands import Commands
from .files import Files
from .forwards import Forwards
from .memory import Memory, Point
from .programs import Programs
from .report import Results, as_json, markdown, this_machine
from .servers import Servers, running_servers
from .starting import Starting
from .streams import Streams
from .terminals import Terminals
from .workload import Sample, Sizes, Workload

QUICK: Final = Sizes(
    commands=4,
    processes=2,
    stdout=1 << 20,
    shown=1_000_000,
    keys=10,
    keys_with_gaps=10,
    levels=(1, 4),
    hosts=4,
    probes=4,
    idle=10,
    slope=(1, 10),
    file=1 << 20,
    files=20,
    tree=100,
    connections=20,
    datagrams=500,
)
"""Only large enough to see that everything works; the numbers mean nothing."""

SLOPES: Final = "slopes"
"""The name of the table of slopes for --only."""

RESULTS: Final = Path(__file__).with_name("results")


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code, which is 0 whatever the numbers are."""
    options = _parser().parse_args(arguments)
    # A thousand connections through a forward have both their ends in this process; its clients inherit the limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sizes = QUICK if options.quick else Sizes(stdout=options.size << 20)
    rounds = 1 if options.quick else options.rounds
    results, points = asyncio.run(measure(sizes, rounds, options.only))
    machine = this_machine(rounds)
    page = markdown(results, points, machine)
    print(page, end="")
    target: Path | None = RESULTS if options.write else options.directory
    if target is not None:
        target.mkdir(exist_ok=True)
        (target / "results.json").write_text(json.dumps(as_json(results, points, machine), indent=1) + "\n")
        (target / "README.md").write_text(f"# Results of `python -m tests.benchmarks`\n\n{page}")
        draw(results, machine, target / "chart.svg")
    return 0


async def measure(sizes: Sizes, rounds: int, only: str = "") -> tuple[list[Results], list[Point]]:
    """Return the results of the workloads that have `only` in their names, and the slopes if they have."""
    with tempfile.TemporaryDirectory(prefix="farhand-benchmarks-") as directory:
        async with running_servers(Path(directory)) as servers, _master(servers) as control:
            clients = Clients(servers, control)
            memory = Memory(clients, sizes)
            workloads = [
                *Commands(clients, sizes).workloads(),
                *Streams(clients, sizes).workloads(),
                *Files(clients, sizes).workloads(),
                *Programs(clients, sizes).workloads(),
                *Forwards(clients, sizes).workloads(),
                *Terminals(clients, sizes).workloads(),
                *Starting(clients).workloads(),
                *memory.workloads(),
            ]
            results = [await _measured(workload, rounds) for workload in workloads if only in workload.name]
            return results, await memory.slopes() if only in SLOPES else []


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
    add("--size", type=int, default=1024, metavar="MIB", help="MiB of a stream (default 1024)")
    add(
        "--only",
        default="",
        metavar="TEXT",
        help="only workloads with TEXT in their name: loop, in flight, connections, stdout, stdin, streams, put of, "
        f"get of, sync of, a forward, key echo, cat, REPL, memory, {SLOPES}",
    )
    add("--write", action="store_true", help=f"replace the page, the JSON and the chart in {RESULTS.name}/")
    add("--directory", type=Path, metavar="DIR", help="write the page, the JSON with every sample and the chart there")
    add("--quick", action="store_true", help="try the whole with next to no work; the numbers mean nothing")
    return parser


if __name__ == "__main__":
    os.environ.pop("SSH_AUTH_SOCK", None)
    sys.exit(main(sys.argv[1:]))
