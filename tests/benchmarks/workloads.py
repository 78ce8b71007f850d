"""What is measured: workloads, each done by several contestants, with the targets Farhand has to reach in them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .cpu import Meter
from .servers import SSHD, Servers

TIMEOUT: Final = 300.0
"""Seconds for one measurement: the slowest takes ten on a busy machine."""

FARHAND: Final = "Farhand"
OPENSSH: Final = "OpenSSH"
OPENSSH_AES: Final = "OpenSSH, aes128-gcm"
OPENSSH_MASTER: Final = "OpenSSH, ControlMaster"
OPENSSH_NO_NAGLE: Final = "OpenSSH, no Nagle"
OPENSSH_NO_NAGLE_25519: Final = "OpenSSH, no Nagle, curve25519"
ASYNCSSH: Final = "asyncssh"
FARHAND_API: Final = "Farhand, API"


@dataclass(frozen=True)
class Sample:
    """One measurement: its value in the workload's unit, and where it is known the CPU seconds by process."""

    value: float
    cpu: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Workload:
    """`targets` say how many times as good as another contestant Farhand is to be at least.

    `amount` is what the CPU seconds of a sample are divided by, `per` the name of one.
    """

    name: str
    unit: str
    more_is_better: bool
    contestants: Mapping[str, Callable[[], Awaitable[Sample]]]
    targets: Mapping[str, float]
    amount: float
    per: str


@dataclass(frozen=True)
class Sizes:
    """How much of everything: commands for one measurement, at least as many as are in flight, and bytes of stdout."""

    commands: int = 1500
    stdout: int = 1 << 30
    levels: Sequence[int] = (1, 16, 64)
    """Commands in flight."""


class Bench:
    """Runs clients against the servers. `control` is the socket of an ssh master connection."""

    def __init__(self, servers: Servers, control: Path, sizes: Sizes) -> None:
        self._servers = servers
        self._sizes = sizes
        self._meter = Meter(servers.farhand.process.pid)
        self._ssh = ("ssh", "-F", str(servers.ssh_config))
        self._mux = (*self._ssh, "-S", str(control), "bench")
        self._farhand_run = ("run", "-I", str(servers.place.key), servers.host, "--")
        host_key = " ".join((servers.place.directory / "host_key.pub").read_text().split()[:2])
        self._asyncssh_place = (str(servers.asyncssh), servers.place.user, str(servers.place.key), host_key)

    def workloads(self) -> list[Workload]:
        """Return everything there is to measure, in the order of the table."""
        return [*(self._commands(level) for level in self._sizes.levels), self._stdout(), self._cold()]

    def _commands(self, level: int) -> Workload:
        count = max(self._sizes.commands, level)

        def per_second(seconds: float) -> float:
            return count / seconds

        # A process for each command is slow: a tenth of the commands takes about as long.
        few = max(count // 10, level)

        async def by_master() -> Sample:
            ssh = " ".join((*self._mux, "true"))
            script = f"seq {few} | xargs -P{level} -I@ {ssh}" if level > 1 else f"for i in $(seq {few}); do {ssh}; done"
            return Sample(few / await self._whole("sh", "-ec", script))

        return Workload(
            f"`true`, {level} in flight on one connection",
            "per second",
            True,
            {
                FARHAND: lambda: self._api(per_second, "farhand", "runs", str(count), str(level)),
                ASYNCSSH: lambda: self._api(per_second, "asyncssh", "runs", str(count), str(level)),
                OPENSSH_MASTER: by_master,
            },
            {ASYNCSSH: 2.2},
            count,
            "run",
        )

    def _stdout(self) -> Workload:
        size = self._sizes.stdout
        command = ("head", "-c", str(size), "/dev/zero")

        def rate(seconds: float) -> float:
            return size / seconds / 1e6

        async def whole(*start: str) -> Sample:
            return Sample(rate(await self._whole(*start, *command)))

        return Workload(
            f"stdout of `head -c {size >> 20}M`, whole client process",
            "MB/s",
            True,
            {
                FARHAND: lambda: self._metered(lambda: whole(*self._farhand(), *self._farhand_run)),
                OPENSSH: lambda: whole(*self._ssh, "bench"),
                OPENSSH_AES: lambda: whole(*self._ssh, "-c", "aes128-gcm@openssh.com", "bench"),
                FARHAND_API: lambda: self._api(rate, "farhand", "stdout", str(size)),
                ASYNCSSH: lambda: self._api(rate, "asyncssh", "stdout", str(size)),
            },
            {OPENSSH: 1.5, OPENSSH_AES: 1.0},
            size / (1 << 30),
            "GiB",
        )

    def _cold(self) -> Workload:
        # In inetd mode over a socket pair there is no TCP and so no Nagle, which costs ssh twice 44 ms on loopback.
        inetd = f"ProxyCommand={SSHD} -i -f {self._servers.sshd_config}"
        no_nagle = (*self._ssh, "-o", inetd)

        async def whole(*command: str) -> Sample:
            return Sample(1000 * await self._whole(*command))

        script = (sys.executable, "-m", "tests.benchmarks.client", "asyncssh", "cold", *self._asyncssh_place)
        return Workload(
            "cold `true`, whole client process",
            "ms",
            False,
            {
                FARHAND: lambda: whole(*self._farhand(), *self._farhand_run, "true"),
                OPENSSH: lambda: whole(*self._ssh, "bench", "true"),
                OPENSSH_NO_NAGLE: lambda: whole(*no_nagle, "bench", "true"),
                OPENSSH_NO_NAGLE_25519: lambda: whole(
                    *no_nagle, "-o", "KexAlgorithms=curve25519-sha256", "bench", "true"
                ),
                OPENSSH_MASTER: lambda: whole(*self._mux, "true"),
                ASYNCSSH: lambda: whole(*script),
            },
            {OPENSSH: 1.0},
            1,
            "run",
        )

    def _farhand(self) -> tuple[str, ...]:
        script = Path(sys.executable).with_name("farhand")
        return (str(script),) if script.exists() else (sys.executable, "-m", "farhand_client")

    async def _api(self, value: Callable[[float], float], contestant: str, *workload: str) -> Sample:
        place = (self._servers.host, str(self._servers.place.key)) if contestant == "farhand" else self._asyncssh_place
        before = self._meter.read()
        out, _ = await self._finished(sys.executable, "-m", "tests.benchmarks.client", contestant, *workload, *place)
        seconds, cpu = map(float, out.split())
        if contestant == "asyncssh":
            return Sample(value(seconds))
        return Sample(value(seconds), self._since(before) | {"client": cpu})

    async def _metered(self, measure: Callable[[], Awaitable[Sample]]) -> Sample:
        before = self._meter.read()
        sample = await measure()
        return Sample(sample.value, self._since(before))

    def _since(self, before: Mapping[str, float]) -> dict[str, float]:
        return {name: used - before[name] for name, used in self._meter.read().items()}

    async def _whole(self, *command: str) -> float:
        """Return the seconds a process takes, with its output thrown away."""
        return (await self._finished(*command, keep=False))[1]

    async def _finished(self, *command: str, keep: bool = True) -> tuple[bytes, float]:
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if keep else asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self._servers.place.environment,
        )
        try:
            out, error = await asyncio.wait_for(process.communicate(), TIMEOUT)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {error.decode(errors='replace')}")
        return out or b"", seconds
