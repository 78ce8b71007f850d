"""Two tunnels joined in memory, and services that connect and listen as the real ones do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from farhand_forwards.accepting import Accepted, LocalListener
from farhand_forwards.dialing import Dialer
from farhand_forwards.flow import FlowReport
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, ForwardTarget
from farhand_forwards.tunnel import Tunnel
from tests.support.polled_frames import PolledFrames

CAPACITY: Final = 256 * 1024


class MemoryStream:
    """One side of a stream of frames in memory; `join_streams` makes two."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.peer: MemoryStream = self
        self.stored = 0
        self.room = asyncio.Event()
        self.room.set()
        self.blocked = False
        """While True, what is written does not arrive."""

    async def read(self) -> bytes:
        data = await self.arrived.get()
        self.stored -= len(data)
        if not self.blocked:
            self.room.set()
        return data

    async def write(self, data: bytes) -> None:
        peer = self.peer
        await peer.room.wait()
        peer.stored += len(data)
        if peer.stored > CAPACITY:
            peer.room.clear()
        peer.arrived.put_nowait(bytes(data))

    def end(self) -> None:
        """End what the peer reads."""
        self.peer.arrived.put_nowait(b"")


def join_streams() -> tuple[MemoryStream, MemoryStream]:
    one, other = MemoryStream(), MemoryStream()
    one.peer, other.peer = other, one
    return one, other


class RealService:
    """Connects and listens on this machine."""

    def __init__(self, allowed: Callable[[ForwardTarget, str | None], str | None] = lambda target, address: None):
        self._dialer = Dialer(allowed)

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        return await self._dialer.connect(target)

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        return await listen_at(where, accepted)


class DenyingService:
    """Neither connects nor listens: what a client does for its worker."""

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        raise ForwardRefused("denied", "this side does not connect")

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        raise ForwardRefused("denied", "this side does not listen")


class JoinedTunnel:
    """A client's tunnel and a worker's, joined."""

    def __init__(self, service: RealService | DenyingService) -> None:
        self.client_stream, self.worker_stream = join_streams()
        self.client_reports: list[FlowReport] = []
        self.worker_reports: list[FlowReport] = []
        self.client = Tunnel(
            PolledFrames(self.client_stream), client=True, service=DenyingService(), closed=self.client_reports.append
        )
        self._reported = asyncio.Event()
        self.worker = Tunnel(PolledFrames(self.worker_stream), client=False, service=service, closed=self._closed)

    def _closed(self, report: FlowReport) -> None:
        self.worker_reports.append(report)
        self._reported.set()

    async def reported(self, number: int) -> list[FlowReport]:
        """Wait until the worker has reported so many flows that are over, and return the reports."""
        while len(self.worker_reports) < number:
            self._reported.clear()
            await self._reported.wait()
        return self.worker_reports


@asynccontextmanager
async def joined_tunnel(service: RealService | DenyingService | None = None) -> AsyncIterator[JoinedTunnel]:
    """Run two joined tunnels. Whatever is left of them at the end is a failure of the test."""
    joined = JoinedTunnel(service or RealService())
    running = [asyncio.ensure_future(tunnel.run()) for tunnel in (joined.client, joined.worker)]
    try:
        yield joined
    finally:
        joined.client.close()
        joined.client_stream.end()
        async with asyncio.timeout(30):
            await asyncio.gather(*running)
