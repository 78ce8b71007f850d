"""Forward workers of a fake service: tunnels whose far side is in this process, with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from farhand_client import Client, connect
from farhand_forwards.accepting import Accepted, LocalListener
from farhand_forwards.dialing import Dialer
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardTarget
from farhand_forwards.tunnel import Tunnel
from farhand_protocol import messages as m
from farhand_protocol.features import FORWARDS
from farhand_protocol.outcome import Exited, Outcome, Signaled
from tests.support.fake_service import Behaviour, FakeRun, FakeService
from tests.support.polled_frames import PolledFrames


class WorkerStream:
    """The stdin and stdout of a fake run, as the worker has them."""

    def __init__(self, run: FakeRun) -> None:
        self._run = run

    async def read(self) -> bytes:
        """Return what has arrived; nothing at the end."""
        run = self._run
        while not run.stdin:
            ended = any(isinstance(message, m.End | m.Stop | m.Close) for message in run.messages)
            if ended or run.client.closed.is_set():
                return b""
            run.changed.clear()
            await run.changed.wait()
        data, run.stdin = run.stdin, b""
        return data

    async def write(self, data: bytes) -> None:
        """Send it all."""
        await self._run.write("stdout", data)


class FakeWorkers:
    """The workers of a fake service: each connects and listens where it is asked to."""

    def __init__(
        self, allowed: Callable[[ForwardTarget, str | None], str | None] = lambda target, address: None
    ) -> None:
        self._dialer = Dialer(allowed)
        self.tunnels: list[Tunnel] = []
        """Every tunnel, in order of arrival."""
        self.runs: list[FakeRun] = []
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()
        """Set when a worker has ended."""
        self.outcome: Outcome = Exited(code=0)

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        """Connect to a target."""
        return await self._dialer.connect(target)

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        """Listen."""
        return await listen_at(where, accepted)

    async def behave(self, run: FakeRun) -> None:
        """Serve a tunnel."""
        assert run.request.forward is not None
        run.started()
        tunnel = Tunnel(PolledFrames(WorkerStream(run)), client=False, service=self)
        self.tunnels.append(tunnel)
        self.runs.append(run)
        self.arrived.set()
        await tunnel.run()
        run.ended(self.outcome)
        self.ended.set()

    def kill(self) -> None:
        """End the last worker as SIGKILL would."""
        self.outcome = Signaled(signal=9)
        self.tunnels[-1].close()


@contextlib.asynccontextmanager
async def forwarding_client(
    directory: Path, behave: Behaviour, features: tuple[str, ...] = (FORWARDS,)
) -> AsyncIterator[Client]:
    """A client of a fake service whose runs behave so."""
    service = FakeService(behave)
    service.features = features
    async with service.on_socket(directory), connect(service.host, reconnect=None) as client:
        yield client


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what arrives, then ` end`, and close."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write(b" end")
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def target(serve: Serve = echo, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server at a free port. Its connections have ended at the end: their clients must have closed them."""
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(accepted, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
