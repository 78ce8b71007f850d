"""The workloads of streams: output, input, two at once, and short commands beside one."""

from __future__ import annotations

import shlex

from .clients import Clients
from .workload import (
    ASYNCSSH,
    FARHAND,
    FARHAND_API,
    FARHAND_DIRECT,
    OPENSSH,
    OPENSSH_AES,
    Goal,
    Sample,
    Sizes,
    Workload,
)

IDLE = "Farhand, nothing beside"
BESIDE = "Farhand, beside a stream"
ASYNCSSH_IDLE = "asyncssh, nothing beside"
ASYNCSSH_BESIDE = "asyncssh, beside a stream"
AES = ("-c", "aes128-gcm@openssh.com")


class Streams:
    """Workloads that move `Sizes.stdout` bytes."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes

    def workloads(self) -> list[Workload]:
        """Return all of them, in the order of the table."""
        return [self._stdout(), self._stdin(), self._two(), self._beside()]

    def _stdout(self) -> Workload:
        size = self._sizes.stdout
        command = ("head", "-c", str(size), "/dev/zero")

        async def whole(*start: str) -> Sample:
            seconds, cpu = await self._clients.whole(*start, *command)
            return Sample(self._rate(seconds), {"client": cpu})

        return Workload(
            f"stdout of `head -c {size >> 20}M`, whole client process",
            "MB/s",
            True,
            {
                FARHAND: lambda: self._clients.metered(lambda: whole(*self._clients.farhand_run())),
                FARHAND_DIRECT: lambda: self._clients.metered(lambda: whole(*self._clients.farhand_run("--no-mux"))),
                OPENSSH: lambda: whole(*self._clients.ssh, "bench"),
                OPENSSH_AES: lambda: whole(*self._clients.ssh, *AES, "bench"),
                FARHAND_API: lambda: self._clients.api(self._rate, "farhand", "stdout", str(size)),
                ASYNCSSH: lambda: self._clients.api(self._rate, "asyncssh", "stdout", str(size)),
            },
            [Goal(FARHAND, 1.2, OPENSSH), Goal(FARHAND, 0.9, OPENSSH_AES)],
            size / (1 << 30),
            "GiB",
        )

    def _stdin(self) -> Workload:
        size = self._sizes.stdout

        async def whole(*start: str) -> Sample:
            line = f"head -c {size} /dev/zero | {shlex.join((*start, 'sh', '-c', 'cat >/dev/null'))}"
            seconds, cpu = await self._clients.whole("sh", "-ec", line)
            return Sample(self._rate(seconds), {"client": cpu})

        async def ssh(*options: str) -> Sample:
            line = f"head -c {size} /dev/zero | {shlex.join((*self._clients.ssh, *options, 'bench', 'cat >/dev/null'))}"
            seconds, cpu = await self._clients.whole("sh", "-ec", line)
            return Sample(self._rate(seconds), {"client": cpu})

        return Workload(
            f"stdin of `cat >/dev/null`, {size >> 20} MiB, whole client process",
            "MB/s",
            True,
            {
                FARHAND: lambda: self._clients.metered(lambda: whole(*self._clients.farhand_run("-i"))),
                FARHAND_DIRECT: lambda: self._clients.metered(
                    lambda: whole(*self._clients.farhand_run("-i", "--no-mux"))
                ),
                OPENSSH: ssh,
                OPENSSH_AES: lambda: ssh(*AES),
            },
            [Goal(FARHAND, 1.2, OPENSSH), Goal(FARHAND, 0.9, OPENSSH_AES)],
            size / (1 << 30),
            "GiB",
        )

    def _two(self) -> Workload:
        size = str(self._sizes.stdout // 4)

        def percent(share: float) -> float:
            return 100 * share

        return Workload(
            "two streams at once on one connection: what the slower has when the faster has all",
            "%",
            True,
            {
                FARHAND: lambda: self._clients.api(percent, "farhand", "two", size),
                ASYNCSSH: lambda: self._clients.api(percent, "asyncssh", "two", size),
            },
            [Goal(FARHAND, 80)],
            2 * int(size) / (1 << 30),
            "GiB",
        )

    def _beside(self) -> Workload:
        count = str(self._sizes.probes)

        async def took(contestant: str, beside: str) -> Sample:
            return await self._clients.api(lambda seconds: 1000 * seconds, contestant, "latency", count, beside)

        return Workload(
            "`true` on a connection, 99 of 100 are faster",
            "ms",
            False,
            {
                BESIDE: lambda: took("farhand", "1"),
                IDLE: lambda: took("farhand", "0"),
                ASYNCSSH_BESIDE: lambda: took("asyncssh", "1"),
                ASYNCSSH_IDLE: lambda: took("asyncssh", "0"),
            },
            [Goal(BESIDE, 1 / 3, IDLE)],
            self._sizes.probes,
            digits=1,
        )

    def _rate(self, seconds: float) -> float:
        return self._sizes.stdout / seconds / 1e6
