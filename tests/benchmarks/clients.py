"""The contestants' clients: their command lines, and the time that their processes take."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.fronts import install_front
from tests.support.sshd import SSHD

from .cpu import Meter
from .servers import Servers
from .workload import (
    ASYNCSSH,
    DROPBEAR,
    FARHAND_DIRECT,
    FARHAND_HELPER,
    FARHAND_PYTHON_FRONT,
    OPENSSH,
    OPENSSH_MASTER,
    OPENSSH_NO_NAGLE,
    OPENSSH_NO_NAGLE_25519,
    Sample,
)

TIMEOUT: Final = 300.0
"""Seconds for one measurement: the slowest takes ten on a busy machine."""


MAX_WARMING: Final = 50
"""Commands that may pass until the helper, which the first of them starts, has logged in: a few."""


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
        self.meter: Final = Meter(servers.farhand.process.pid)

    def farhand_run(self, *options: str, farhand: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the command line of `farhand run` up to the command on the other machine."""
        return (*(farhand or self.farhand), "run", *options, *self.key, self.servers.host, "--")

    def commands(self) -> dict[str, tuple[str, ...]]:
        """Return, for each contestant that is a program, its command line up to the command on the other machine."""
        # In inetd mode over a socket pair there is no TCP and so no Nagle, which costs ssh twice 44 ms on loopback.
        no_nagle = (*self.ssh, "-o", f"ProxyCommand={SSHD} -i -f {self.servers.sshd_config}")
        found = {
            FARHAND_DIRECT: self.farhand_run("--no-mux"),
            FARHAND_HELPER: self.farhand_run(),
            FARHAND_PYTHON_FRONT: self.farhand_run(farhand=(str(self._python_front()),)),
            OPENSSH: (*self.ssh, "bench"),
            OPENSSH_NO_NAGLE: (*no_nagle, "bench"),
            OPENSSH_NO_NAGLE_25519: (*no_nagle, "-o", "KexAlgorithms=curve25519-sha256", "bench"),
            OPENSSH_MASTER: self.mux,
            ASYNCSSH: (sys.executable, "-m", "tests.benchmarks.client", "asyncssh", "cold", *self.asyncssh_files),
        }
        if self.servers.dropbear is not None and (dbclient := shutil.which("dbclient")) is not None:
            bench = self.servers.bench
            where = ("-p", str(self.servers.dropbear), f"{bench.user}@127.0.0.1")
            found[DROPBEAR] = (dbclient, "-T", "-y", "-y", "-i", f"{bench.key}.dropbear", *where)
        return found

    def _python_front(self) -> Path:
        """Install Farhand's front in Python in a directory, and so with a helper, of its own."""
        full = f"#!{sys.executable}\nimport sys\n\nfrom farhand_client.cli import main\n\nsys.exit(main())\n"
        return install_front("python", self.servers.bench.directory / "python-front", full)

    async def api(self, value: Callable[[float], float], contestant: str, *workload: str) -> Sample:
        """Measure a workload of `client.py`; `value` turns the first number that it prints into the workload's unit."""
        login = (self.servers.host, str(self.servers.bench.key)) if contestant == "farhand" else self.asyncssh_files
        before = self.meter.read()
        done = await self.finished(sys.executable, "-m", "tests.benchmarks.client", contestant, *workload, *login)
        number, cpu = map(float, done[0].split())
        used = {"client": cpu}
        return Sample(value(number), used if contestant == "asyncssh" else self.since(before) | used)

    async def on_terminal(self, what: str, *arguments: str) -> float:
        """Return what `on_terminal.py` measures."""
        out, _, _ = await self.finished(sys.executable, "-m", "tests.benchmarks.on_terminal", what, *arguments)
        return float(out)

    async def warm(self, command: Sequence[str]) -> None:
        """Run `true` until Farhand's helper holds a connection. Raises RuntimeError if it gets none."""
        for _ in range(MAX_WARMING):
            await self.whole(*command, "true")
            # Until it runs, that is an error.
            status, _, _ = await self.finished("sh", "-c", '"$0" helper status --json || :', command[0])
            if json.loads(status).get("connections"):
                return
        raise RuntimeError("the helper holds no connection")

    async def metered(self, measure: Callable[[], Awaitable[Sample]]) -> Sample:
        """Add the CPU time that Farhand's service uses meanwhile."""
        before = self.meter.read()
        sample = await measure()
        return Sample(sample.value, {**self.since(before), **sample.cpu})

    def since(self, before: Mapping[str, float]) -> dict[str, float]:
        """Return the CPU seconds that Farhand's service has used since the meter read `before`."""
        return {name: used - before[name] for name, used in self.meter.read().items()}

    async def whole(self, *command: str) -> tuple[float, float]:
        """Return the seconds that a process takes, with its output discarded, and the CPU seconds that it uses."""
        _, seconds, cpu = await self.finished(*command, keep=False)
        return seconds, cpu

    async def finished(self, *command: str, keep: bool = True) -> tuple[bytes, float, float]:
        """Return the output of a process, the seconds that it takes and the CPU seconds of it and its children.

        Raises RuntimeError if it fails.
        """
        cpu, start_time = _cpu_of_children(), time.perf_counter()
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
        return out or b"", seconds, _cpu_of_children() - cpu


def _cpu_of_children() -> float:
    # One process is measured at a time; the servers are children that have not ended.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
