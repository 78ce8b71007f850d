"""The workloads of forwards: a stream in each direction, new connections, a thousand at once, and datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median
from typing import Final

from tests.support.sshd import LOOPBACK, free_port

from .clients import Clients
from .cpu import cpu_of
from .forward_load import all_at_once, connected, datagrams, echoing, streamed
from .workload import FARHAND, OPENSSH, OPENSSH_AES, Goal, Sample, Sizes, Workload

READY_TIMEOUT: Final = 30.0
"""Seconds for a client to connect and to listen."""

AES: Final = ("-c", "aes128-gcm@openssh.com")

Starting = Callable[[int], contextlib.AbstractAsyncContextManager[tuple[int, int]]]
"""Starts a client that forwards to a port; yields the port here and its pid."""


class Forwards:
    """Workloads through one forward of a port here to a port of the service's machine, which is this one."""

    def __init__(self, clients: Clients, sizes: Sizes) -> None:
        self._clients = clients
        self._sizes = sizes

    def workloads(self) -> list[Workload]:
        """Return all of them, in the order of the table."""
        return [self._stream(to_target=True), self._stream(to_target=False), self._latency(), self._many(), self._udp()]

    def _stream(self, *, to_target: bool) -> Workload:
        size = self._sizes.stdout

        async def measure(start: Starting) -> Sample:
            with socket.create_server((LOOPBACK, 0)) as listener:
                async with start(listener.getsockname()[1]) as (port, pid):
                    before = cpu_of(pid)
                    seconds = await asyncio.to_thread(streamed, listener, port, size, to_target=to_target)
                    return Sample(size / seconds / 1e6, {"client": cpu_of(pid) - before})

        return Workload(
            f"{size >> 20} MiB through a forward, {'to' if to_target else 'from'} its target",
            "MB/s",
            True,
            self._contestants(measure),
            [Goal(FARHAND, 1, OPENSSH)],
            size / (1 << 30),
            "GiB",
        )

    def _latency(self) -> Workload:
        count = self._sizes.probes

        async def measure(start: Starting) -> Sample:
            with socket.create_server((LOOPBACK, 0)) as listener, echoing(listener):
                async with start(listener.getsockname()[1]) as (port, _):
                    return Sample(median(await asyncio.to_thread(connected, port, count)) * 1e3)

        return Workload(
            "a connection through a forward, to its first echoed byte",
            "ms",
            False,
            self._contestants(measure),
            [Goal(FARHAND, 1 / 1.2, OPENSSH)],
            digits=2,
        )

    def _many(self) -> Workload:
        count = self._sizes.connections

        async def measure(start: Starting) -> Sample:
            with socket.create_server((LOOPBACK, 0), backlog=count) as listener, echoing(listener):
                async with start(listener.getsockname()[1]) as (port, _):
                    return Sample(await asyncio.to_thread(all_at_once, port, count))

        return Workload(
            f"{count} connections at once through a forward",
            "s",
            False,
            self._contestants(measure),
            [Goal(FARHAND, 1, OPENSSH)],
            count,
            "connection",
            digits=2,
        )

    def _udp(self) -> Workload:
        count = self._sizes.datagrams

        async def measure() -> Sample:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
                target.bind((LOOPBACK, 0))
                async with self._farhand(target.getsockname()[1], "udp") as (port, pid):
                    before = cpu_of(pid)
                    rate = await asyncio.to_thread(datagrams, target, port, count)
                    return Sample(rate, {"client": cpu_of(pid) - before})

        return Workload(
            "datagrams through a forward",
            "a second",
            True,
            {FARHAND: lambda: self._clients.metered(measure)},
            [Goal(FARHAND, 20_000)],
            count,
            "datagram",
        )

    def _contestants(
        self, measure: Callable[[Starting], Awaitable[Sample]]
    ) -> dict[str, Callable[[], Awaitable[Sample]]]:
        return {
            FARHAND: lambda: self._clients.metered(lambda: measure(self._farhand)),
            OPENSSH: lambda: measure(self._ssh()),
            OPENSSH_AES: lambda: measure(self._ssh(*AES)),
        }

    @contextlib.asynccontextmanager
    async def _farhand(self, target: int, transport: str = "tcp") -> AsyncIterator[tuple[int, int]]:
        where = (self._clients.servers.host, str(self._clients.servers.bench.key), transport, str(target))
        async with self._running(sys.executable, "-m", "tests.benchmarks.forwarder", *where) as (line, pid):
            yield int(line), pid

    def _ssh(self, *options: str) -> Starting:
        @contextlib.asynccontextmanager
        async def start(target: int) -> AsyncIterator[tuple[int, int]]:
            port = free_port()
            # ssh runs this command once it listens.
            said = ("-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo ready")
            where = ("-L", f"{LOOPBACK}:{port}:{LOOPBACK}:{target}", "bench", "cat")
            async with self._running(*self._clients.ssh, *options, *said, *where) as (_, pid):
                yield port, pid

        return start

    @contextlib.asynccontextmanager
    async def _running(self, *command: str) -> AsyncIterator[tuple[bytes, int]]:
        """Run a client until the end of this context; yield its first line, and its pid."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._clients.servers.bench.environment,
        )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_TIMEOUT)
            if not line:
                raise RuntimeError(f"{' '.join(command)} does not forward; its output is above")
            yield line, process.pid
            await asyncio.wait_for(process.communicate(b""), READY_TIMEOUT)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
