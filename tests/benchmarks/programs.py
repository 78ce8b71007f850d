"""The workloads of programs whose transport is ssh or Farhand: rsync and git over `farhand rsh`, and over ssh."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from .clients import Clients
from .made_files import make_files, make_large_file
from .workload import FARHAND, FARHAND_DIRECT, OPENSSH, Goal, Sample, Sizes, Workload

SMALL_FILE: Final = 4 << 10
"""Bytes of a small file, as in the workloads of files."""

COMMITS: Final = 20
"""Commits of the repository that is cloned; each adds as much as the others."""

GOAL: Final = 0.9
"""How fast a program has to be over Farhand, for one over ssh."""


class Programs:
    """Workloads that copy from one directory of this machine to another by rsync and git."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes
        host, _, port = clients.servers.host.partition(":")
        rsh = (*clients.farhand, "rsh", "-F", "none", "-p", port, "-i", str(clients.servers.bench.key))
        no_mux = ("env", "FARHAND_MUX=off")
        self._shells: Final = {
            FARHAND: (rsh, host),
            FARHAND_DIRECT: ((*no_mux, *rsh), host),
            OPENSSH: (clients.ssh, "bench"),
        }
        base = clients.servers.bench.directory / "programs"
        self._large: Final = base / "large"
        self._small: Final = base / "small"
        self._repository: Final = base / "repository.git"
        self._copies: Final = base / "copies"

    def workloads(self) -> list[Workload]:
        """Return all of them, in the order of the table."""
        large, small = f"a file of {self._sizes.file >> 20} MiB", f"{self._sizes.files} files of 4 KiB"
        size, files = self._sizes.file / 1e6, float(self._sizes.files)
        sets = (
            (self._large, large, self._make_large, size, "MB/s"),
            (self._small, small, self._make_small, files, "files/s"),
        )
        rsync = [self._rsync(way, *each) for each in sets for way in ("push", "pull")]
        return [*rsync, self._clone(size)]

    def _rsync(self, way: str, source: Path, what: str, make: Callable[[], None], amount: float, unit: str) -> Workload:
        def command(shell: tuple[str, ...], host: str) -> tuple[str, ...]:
            there = f"{self._copies}/"
            between = (str(source), f"{host}:{there}") if way == "push" else (f"{host}:{source}", there)
            return ("rsync", "-a", "-e", shlex.join(shell), *between)

        return self._workload(f"rsync over rsh, {way} of {what}", amount, unit, make, command)

    def _clone(self, size: float) -> Workload:
        def command(shell: tuple[str, ...], host: str) -> tuple[str, ...]:
            setting = f"core.sshCommand={shlex.join(shell)}"
            between = (f"{host}:{self._repository}", f"{self._copies}/git")
            return ("git", "-c", setting, "clone", "--quiet", "--bare", *between)

        what = f"git clone over rsh of {self._sizes.file >> 20} MiB"
        return self._workload(what, size, "MB/s", self._make_repository, command)

    def _workload(
        self,
        name: str,
        amount: float,
        unit: str,
        make: Callable[[], None],
        command: Callable[[tuple[str, ...], str], tuple[str, ...]],
    ) -> Workload:
        def take(contestant: str) -> Callable[[], Awaitable[Sample]]:
            shell, host = self._shells[contestant]

            async def once() -> Sample:
                await asyncio.to_thread(self._prepare, make)
                seconds, cpu = await self._clients.whole(*command(shell, host))
                return Sample(amount / seconds, {"client": cpu})

            return once

        contestants = {contestant: take(contestant) for contestant in self._shells}
        return Workload(name, unit, True, contestants, [Goal(FARHAND, GOAL, OPENSSH)], amount, unit.removesuffix("/s"))

    # The files

    def _prepare(self, make: Callable[[], None]) -> None:
        shutil.rmtree(self._copies, ignore_errors=True)
        self._copies.mkdir(parents=True)
        make()
        os.sync()

    def _make_large(self) -> None:
        make_large_file(self._large, self._sizes.file)

    def _make_small(self) -> None:
        make_files(self._small, self._sizes.files, SMALL_FILE)

    def _make_repository(self) -> None:
        if self._repository.exists():
            return
        work = self._copies / "work"
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@bench")
        subprocess.run(["git", "init", "--quiet", work], check=True)
        for number in range(COMMITS):
            (work / str(number)).write_bytes(random.randbytes(self._sizes.file // COMMITS))
            subprocess.run(["git", "-C", work, "add", "."], check=True)
            subprocess.run(["git", "-C", work, *who, "commit", "--quiet", "-m", str(number)], check=True)
        subprocess.run(["git", "clone", "--quiet", "--bare", "--no-local", work, self._repository], check=True)
        shutil.rmtree(work)
