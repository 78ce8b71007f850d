"""rsync and git through fifty cuts, over Farhand and over OpenSSH: `python -m tests.benchmarks.cuts_of_programs`.

Both go through a proxy on loopback that ends, resets or silences connections after the same random numbers of bytes;
with Farhand it also kills the edge. Prints a table, as in the project's README, and exits with 0 if all that went over
Farhand arrived whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.integration.programs.test_git import make_repository, with_git
from tests.support.cut_programs import LONG, MiB, faults_of, fill
from tests.support.faulty_proxy import FaultyProxy, Kind, faulty_proxy, faulty_proxy_to, network_service
from tests.support.openssh import make_key
from tests.support.remote_shells import HOST, RemoteShell, client_environment, farhand_shell
from tests.support.sshd import LOOPBACK, running_sshd

TIMEOUT: Final = 1800.0
"""Seconds for one program; a gigabyte takes one minute on an idle machine."""

QUICK_TO_NOTICE: Final = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=5")
"""For both: vanished packets are noticed after three intervals."""


@dataclass(frozen=True)
class Ended:
    """How a program has ended: its exit code, and whether what arrived is what was sent."""

    program: str
    over: str
    cuts: int
    code: int
    whole: bool

    @property
    def cells(self) -> str:
        """The row of the table."""
        arrived = "whole" if self.whole else "not whole"
        return f"| {self.program} | {self.over} | {self.cuts} | {self.code} | {arrived} |"


@contextlib.asynccontextmanager
async def cut_farhand(
    directory: Path, seed: int, size: int, *, push: bool
) -> AsyncIterator[tuple[RemoteShell, FaultyProxy]]:
    """Run a service that is reached through cuts."""
    faults = iter(faults_of(seed, LONG, size, push=push))
    async with network_service(directory) as service, faulty_proxy(service, faults) as line:
        shell = farhand_shell(directory, service, line.port, client_environment(service, mux="off"))
        yield replace(shell, words=(*shell.words, *QUICK_TO_NOTICE)), line


@contextlib.asynccontextmanager
async def cut_ssh(
    directory: Path, seed: int, size: int, *, push: bool
) -> AsyncIterator[tuple[RemoteShell, FaultyProxy]]:
    """Run sshd, which is reached through cuts."""
    kinds: dict[Kind, int] = {kind: count for kind, count in LONG.items() if kind != "edge"}
    faults = iter(faults_of(seed, kinds, size, push=push))
    for name in ("key", "host_key"):
        make_key(directory / name)
    env = dict(os.environ)
    async with (
        running_sshd(directory, HOST, env) as sshd,
        faulty_proxy_to((LOOPBACK, sshd.port), faults, lambda: None) as line,
    ):
        words = ("ssh", "-F", str(sshd.client_config), "-p", str(line.port), "-o", f"HostKeyAlias={HOST}")
        yield RemoteShell("OpenSSH", (*words, *QUICK_TO_NOTICE), env, directory), line


async def copied(shell: RemoteShell, directory: Path, size: int, *, push: bool) -> tuple[int, bool]:
    """Copy a file with rsync; return the exit code, and whether the copy is the same."""
    source, copy = directory / "source", directory / "copy"
    await asyncio.to_thread(fill, source, size, 1)
    between = (source, f"{HOST}:{copy}") if push else (f"{HOST}:{source}", copy)
    code = await exit_code(shell, "rsync", "-a", "--whole-file", "-e", shell.command, *between)
    return code, copy.exists() and subprocess.run(["cmp", "-s", source, copy], check=False).returncode == 0


async def cloned(shell: RemoteShell, directory: Path, size: int) -> tuple[int, bool]:
    """Clone a repository; return the exit code, and whether `git fsck` finds the clone whole."""
    shell = with_git(shell)
    await make_repository(shell, directory / "remote.git", commits=8, size=size // 8)
    clone = directory / "clone"
    code = await exit_code(shell, "git", "clone", "--quiet", f"{HOST}:{directory}/remote.git", clone)
    return code, clone.exists() and await exit_code(shell, "git", "-C", clone, "fsck", "--full") == 0


async def exit_code(shell: RemoteShell, *command: str | Path) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(shell.env)
    )
    async with asyncio.timeout(TIMEOUT):
        return await process.wait()


async def measure(program: str, over: str, seed: int, size: int) -> Ended:
    """Run one program over one of the two."""
    push = program == "rsync, push"
    with tempfile.TemporaryDirectory(prefix="farhand-cuts-") as name:
        directory = Path(name)
        cut = cut_farhand if over == "Farhand" else cut_ssh
        async with cut(directory, seed, size, push=push) as (shell, line):
            clone = program == "git clone"
            job = cloned(shell, directory, size) if clone else copied(shell, directory, size, push=push)
            code, whole = await job
        return Ended(f"{program}, {size // MiB} MiB", over, len(line.made), code, whole)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cuts_of_programs", description=__doc__)
    parser.add_argument("--rsync", type=int, default=1024, metavar="MiB", help="size of rsync's file (default 1024)")
    parser.add_argument("--git", type=int, default=200, metavar="MiB", help="size of the repository (default 200)")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="repeat the cuts of this seed")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
    sizes = {"rsync, push": options.rsync, "rsync, pull": options.rsync, "git clone": options.git}
    print(
        f"seed {seed}\n\n| program | over | cuts | exit code | what arrived |\n| --- | --- | --- | --- | --- |",
        flush=True,
    )
    right = True
    for program, size in sizes.items():
        for over in ("Farhand", "OpenSSH"):
            ended = asyncio.run(measure(program, over, seed, size * MiB))
            print(ended.cells, flush=True)
            right = right and (over != "Farhand" or (ended.code == 0 and ended.whole))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
