"""Forward workers of the service, and the client's end of their tunnels."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from farhand_forwards.accepting import Accepted, LocalListener
from farhand_forwards.targets import ForwardRefused, ForwardTarget
from farhand_forwards.tunnel import Tunnel
from farhand_server.forwards.feed import FlowFeed
from farhand_server.forwards.order import ForwardOrder, ForwardOrderFile, ForwardTotals
from farhand_server.forwards.pipes import PipeFrames
from farhand_server.forwards.program import forward_argv
from farhand_server.forwards.records import FlowRecord
from farhand_server.forwards.rules import ForwardRules
from farhand_server.programs.command import own_environment
from farhand_server.programs.order_file import RunIds


class NoService:
    """The client's side, which does nothing for the worker."""

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        raise ForwardRefused("denied", "a client connects to nothing")

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        raise ForwardRefused("denied", "a client does not listen")


class StartedForward:
    """A worker that runs, and the tunnel to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.records: list[FlowRecord] = []
        self.totals = ForwardTotals()
        """At the end of the block: what it has counted."""
        self._stdin = process.stdin
        frames = PipeFrames(process.stdout.fileno(), process.stdin.fileno())
        self.tunnel = Tunnel(frames, client=True, service=NoService())
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        with contextlib.suppress(OSError):
            await self.tunnel.run()

    async def end(self) -> int:
        """Close its stdin; return its exit code, or minus the signal."""
        self._stdin.close()
        return await self.wait()

    async def wait(self) -> int:
        """Wait until it has ended; return its exit code, or minus the signal."""
        return await asyncio.to_thread(self.process.wait, 30)

    @property
    def stderr(self) -> bytes:
        """What it has written to stderr. Call this at its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


@asynccontextmanager
async def forward_worker(
    rules: ForwardRules = ForwardRules(),  # noqa: B008  # immutable
    *,
    home: bytes = b"/",
    user: RunIds | None = None,
) -> AsyncIterator[StartedForward]:
    """Start a worker by these rules; kill it at the end of the block."""
    records: list[FlowRecord] = []
    feed, theirs = FlowFeed.create(records.append, os.getuid())
    order_file = ForwardOrderFile.create(ForwardOrder(rules, home, user, theirs.fileno()))
    try:
        with subprocess.Popen(
            forward_argv(),
            env=own_environment(order_file.fd),
            pass_fds=(order_file.fd, theirs.fileno()),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
        ) as process:
            theirs.close()
            started = StartedForward(process)
            started.records = records
            try:
                yield started
            finally:
                process.kill()
                started.tunnel.close()
                await started.running
                feed.finish()
                started.totals = order_file.totals()
    finally:
        os.close(order_file.fd)
