"""How long programs take to start: the service, the embedded service of `farhand local`, and the prompt."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.support.service import environment

from .clients import Clients
from .workload import FARHAND, FARHAND_DIRECT, Goal, Sample, Workload

READY: Final = 60.0
"""Timeout, in seconds, for a service to become ready."""


class Starting:
    """Workloads that are a program's start."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def workloads(self) -> list[Workload]:
        """Return all of them, in the order of the table."""
        return [
            Workload("`farhandd serve` until it is ready", "ms", False, {FARHAND: _served}, [Goal(FARHAND, 400)]),
            Workload("`farhand local -- true`", "ms", False, {FARHAND: self._local}, [Goal(FARHAND, 500)]),
            Workload(
                "REPL on the same machine, to its first prompt",
                "ms",
                False,
                {FARHAND: self._prompt, FARHAND_DIRECT: lambda: self._shown("--no-mux")},
                [Goal(FARHAND, 150)],
            ),
        ]

    async def _local(self) -> Sample:
        seconds, cpu = await self._clients.whole(*self._clients.farhand, "local", "--", "true")
        return Sample(1000 * seconds, {"all": cpu})

    async def _prompt(self) -> Sample:
        await self._clients.warm(self._clients.farhand_run())
        return await self._shown()

    async def _shown(self, *options: str) -> Sample:
        repl = (*self._clients.farhand, "repl", *options, self._clients.servers.farhand.host)
        # The prompt begins with user and host.
        text = f"{self._clients.servers.bench.user}@"
        return Sample(await self._clients.on_terminal("prompt", text, *repl))


async def _served() -> Sample:
    """Start a service with a network address in a directory of its own; it is ready when it tells systemd so."""
    with tempfile.TemporaryDirectory(prefix="fh-start-") as name:
        directory = Path(name)
        (directory / "run").mkdir(mode=0o700)
        ready = directory / "ready"
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(_Ready, local_addr=str(ready), family=socket.AF_UNIX)
        start_time = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "farhand_server", "serve", "--listen", "127.0.0.1:0"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment(directory) | {"NOTIFY_SOCKET": str(ready)},
        )
        try:
            await asyncio.wait_for(protocol.ready.wait(), READY)
            return Sample(1000 * (time.perf_counter() - start_time))
        finally:
            transport.close()
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


class _Ready(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.ready = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if b"READY=1" in data.split(os.linesep.encode()):
            self.ready.set()
