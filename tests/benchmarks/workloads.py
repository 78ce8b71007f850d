"""The workloads without a terminal: commands and their output, for several contestants, with Farhand's targets."""

from __future__ import annotations

import sys

from .clients import Clients
from .servers import SSHD
from .workload import (
    ASYNCSSH,
    FARHAND,
    FARHAND_API,
    OPENSSH,
    OPENSSH_AES,
    OPENSSH_MASTER,
    OPENSSH_NO_NAGLE,
    OPENSSH_NO_NAGLE_25519,
    Sample,
    Sizes,
    Workload,
)


class Bench:
    """The workloads for commands and their output, one after the other and many at once."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes
        self._run = (*clients.farhand, "run", *clients.key, clients.servers.host, "--")

    def workloads(self) -> list[Workload]:
        """Return all workloads, in the order of the table."""
        return [*(self._commands(level) for level in self._sizes.levels), self._stdout(), self._cold()]

    def _commands(self, level: int) -> Workload:
        count = max(self._sizes.commands, level)

        def per_second(seconds: float) -> float:
            return count / seconds

        # A process for each command is slow, so only a tenth of the commands is run.
        few = max(count // 10, level)

        async def by_master() -> Sample:
            ssh = " ".join((*self._clients.mux, "true"))
            script = f"seq {few} | xargs -P{level} -I@ {ssh}" if level > 1 else f"for i in $(seq {few}); do {ssh}; done"
            return Sample(few / await self._clients.whole("sh", "-ec", script))

        return Workload(
            f"`true`, {level} in flight on one connection",
            "per second",
            True,
            {
                FARHAND: lambda: self._clients.api(per_second, "farhand", "runs", str(count), str(level)),
                ASYNCSSH: lambda: self._clients.api(per_second, "asyncssh", "runs", str(count), str(level)),
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
            return Sample(rate(await self._clients.whole(*start, *command)))

        return Workload(
            f"stdout of `head -c {size >> 20}M`, whole client process",
            "MB/s",
            True,
            {
                FARHAND: lambda: self._clients.metered(lambda: whole(*self._run)),
                OPENSSH: lambda: whole(*self._clients.ssh, "bench"),
                OPENSSH_AES: lambda: whole(*self._clients.ssh, "-c", "aes128-gcm@openssh.com", "bench"),
                FARHAND_API: lambda: self._clients.api(rate, "farhand", "stdout", str(size)),
                ASYNCSSH: lambda: self._clients.api(rate, "asyncssh", "stdout", str(size)),
            },
            {OPENSSH: 1.5, OPENSSH_AES: 1.0},
            size / (1 << 30),
            "GiB",
        )

    def _cold(self) -> Workload:
        # In inetd mode over a socket pair there is no TCP and so no Nagle, which costs ssh twice 44 ms on loopback.
        inetd = f"ProxyCommand={SSHD} -i -f {self._clients.servers.sshd_config}"
        no_nagle = (*self._clients.ssh, "-o", inetd)

        async def whole(*command: str) -> Sample:
            return Sample(1000 * await self._clients.whole(*command))

        script = (sys.executable, "-m", "tests.benchmarks.client", "asyncssh", "cold", *self._clients.asyncssh_files)
        return Workload(
            "cold `true`, whole client process",
            "ms",
            False,
            {
                FARHAND: lambda: whole(*self._run, "true"),
                OPENSSH: lambda: whole(*self._clients.ssh, "bench", "true"),
                OPENSSH_NO_NAGLE: lambda: whole(*no_nagle, "bench", "true"),
                OPENSSH_NO_NAGLE_25519: lambda: whole(
                    *no_nagle, "-o", "KexAlgorithms=curve25519-sha256", "bench", "true"
                ),
                OPENSSH_MASTER: lambda: whole(*self._clients.mux, "true"),
                ASYNCSSH: lambda: whole(*script),
            },
            {OPENSSH: 1.0},
            1,
            "run",
        )
