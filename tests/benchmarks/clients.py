"""The contestants' clients: their command lines, and the time that their processes take."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from .cpu import Meter
from .servers import Servers
from .workload import Sample

TIMEOUT: Final = 300.0
"""Seconds for one measurement: the slowest takes ten on a busy machine."""


class Clients:
    """Runs clients against the servers. `control` is the socket of an ssh master connection.

    `ssh` lacks the host, `bench`, which `mux` includes; `farhand` lacks the subcommand and `key`.
    """

    def __init__(self, servers: Servers, control: Path) -> None:
        self.servers: Final = servers
        self.ssh: Final = ("ssh", "-F", str(servers.ssh_config))
        self.mux: Final = (*self.ssh, "-S", str(control), "bench")
        script = Path(sys.executable).with_name("farhand")
        self.farhand: Final = (str(script),) if script.exists() else (sys.executable, "-m", "farhand_client")
        self.key: Final = ("-I", str(servers.bench.key))
        host_key = " ".join((servers.bench.directory / "host_key.pub").read_text().split()[:2])
        self.asyncssh_files: Final = (str(servers.asyncssh), servers.bench.user, str(servers.bench.key), host_key)
        self._meter = Meter(servers.farhand.process.pid)

    async def api(self, value: Callable[[float], float], contestant: str, *workload: str) -> Sample:
        """Measure a workload of `client.py`; `value` turns the first number that it prints into the workload's unit."""
        login = (self.servers.host, str(self.servers.bench.key)) if contestant == "farhand" else self.asyncssh_files
        before = self._meter.read()
        out, _ = await self.finished(sys.executable, "-m", "tests.benchmarks.client", contestant, *workload, *login)
        number, cpu = map(float, out.split())
        if contestant == "asyncssh":
            return Sample(value(number))
        return Sample(value(number), self._since(before) | {"client": cpu})

    async def on_terminal(self, what: str, *arguments: str) -> float:
        """Return what `on_terminal.py` measures."""
        out, _ = await self.finished(sys.executable, "-m", "tests.benchmarks.on_terminal", what, *arguments)
        return float(out)

    async def metered(self, measure: Callable[[], Awaitable[Sample]]) -> Sample:
        """Add the CPU time that Farhand's service uses meanwhile."""
        before = self._meter.read()
        sample = await measure()
        return Sample(sample.value, self._since(before))

    def _since(self, before: Mapping[str, float]) -> dict[str, float]:
        return {name: used - before[name] for name, used in self._meter.read().items()}

    async def whole(self, *command: str) -> float:
        """Return the seconds that a process takes, with its output discarded."""
        return (await self.finished(*command, keep=False))[1]

    async def finished(self, *command: str, keep: bool = True) -> tuple[bytes, float]:
        """Return the output of a process and the seconds that it takes. Raises RuntimeError if it fails."""
        start_time = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if keep else asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self.servers.bench.environment,
        )
        try:
            out, error = await asyncio.wait_for(process.communicate(), TIMEOUT)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        seconds = time.perf_counter() - start_time
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {error.decode(errors='replace')}")
        return out or b"", seconds
