"""A TCP proxy in front of a service with the faults of a network: FIN, RST and silence."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import farhand_client
from farhand_client import Client
from tests.support.openssh import make_key
from tests.support.processes import children, command_line
from tests.support.service import Service, running_service

Kind: TypeAlias = Literal["fin", "rst", "vanish", "edge"]

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER (socket(7)): a close sends RST."""

KEEPALIVE: Final = 0.1
"""Keep-alive interval, in seconds, of a test's client: after three a silent connection counts as lost."""


HANDSHAKE: Final = 2.0
"""Seconds after which a test's client gives up a connection that falls silent during login."""

LOGGED_IN: Final = 20_000
"""Bytes from the service after which the login is over: a client whose first login fails does not retry."""


class Fault(NamedTuple):
    """A fault of one connection after `after` bytes from the service, or from the client."""

    kind: Kind
    after: int
    of: Literal["service", "client"] = "service"


class FaultyProxy:
    """Listens on loopback, forwards to `target`, and applies the next of `faults` to each connection.

    `kill_edge` is called for faults that kill the edge. Once the faults are exhausted, connections are only forwarded.
    A connection that ends before its fault leaves it to the next one: on a slow machine a client may give it up.
    """

    def __init__(self, target: tuple[str, int], faults: Iterator[Fault], kill_edge: Callable[[], None]) -> None:
        self.made: list[Fault] = []
        """The faults applied so far."""
        self.port = 0
        self.sound = False
        """While set, new connections get no fault."""
        self._target = target
        self._faults = faults
        self._kill_edge = kill_edge
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, client: socket.socket) -> None:
        """Forward one connection until it ends."""
        loop = asyncio.get_running_loop()
        with client, socket.socket() as service:
            service.setblocking(False)
            for end in (client, service):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await loop.sock_connect(service, self._target)
            except OSError:
                return
            fault = None if self.sound else next(self._faults, None)
            to_service = fault.after if fault is not None and fault.of == "client" else None
            to_client = fault.after if fault is not None and fault.of == "service" else None
            copies = {
                asyncio.ensure_future(_copy(client, service, to_service)),
                asyncio.ensure_future(_copy(service, client, to_client)),
            }
            try:
                done, _ = await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
                if fault is not None and any(copy.result() for copy in done):
                    self.made.append(fault)
                    await self._happen(fault.kind, client, service, copies)
                elif fault is not None:
                    self._faults = itertools.chain((fault,), self._faults)
            finally:
                for copy in copies:
                    copy.cancel()
                await asyncio.gather(*copies, return_exceptions=True)

    async def _happen(
        self, kind: Kind, client: socket.socket, service: socket.socket, copies: set[asyncio.Task[bool]]
    ) -> None:
        match kind:
            case "fin":
                for end in (client, service):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_WR)
            case "rst":
                for end in (client, service):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            case "edge":
                self._kill_edge()
                await _discard(service, copies)
            case "vanish":
                # Neither end is notified; the sockets stay open until the client gives the connection up.
                await _discard(client, copies)

    async def accept(self, listener: socket.socket) -> None:
        """Accept clients until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                client, _ = await loop.sock_accept(listener)
                task = asyncio.ensure_future(self.serve(client))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def _discard(source: socket.socket, copies: set[asyncio.Task[bool]]) -> None:
    """Read from one end until it closes the connection, instead of copying."""
    for copy in copies:
        copy.cancel()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while await loop.sock_recv(source, 1 << 18):
            pass


async def _copy(source: socket.socket, target: socket.socket, left: int | None) -> bool:
    """Copy `left` bytes, or until end of file; return whether that many were copied."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, 1 << 18 if left is None else min(1 << 18, left)):
            await loop.sock_sendall(target, data)
            if left is not None:
                left -= len(data)
                if not left:
                    return True
    return False


@contextlib.asynccontextmanager
async def faulty_proxy(service: Service, faults: Iterator[Fault]) -> AsyncIterator[FaultyProxy]:
    """Start a proxy to the network address of `service`."""
    assert service.address is not None
    async with faulty_proxy_to(service.address, faults, lambda: kill_edge(service)) as line:
        yield line


@contextlib.asynccontextmanager
async def faulty_proxy_to(
    target: tuple[str, int], faults: Iterator[Fault], kill_edge: Callable[[], None]
) -> AsyncIterator[FaultyProxy]:
    """Start a proxy to `target`."""
    line = FaultyProxy(target, faults, kill_edge)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        line.port = listener.getsockname()[1]
        accepting = asyncio.ensure_future(line.accept(listener))
        try:
            yield line
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)


def kill_edge(service: Service) -> None:
    """Kill the edge of a service, if one runs at the moment."""
    for pid in children(service.process.pid):
        if b"edge" in command_line(pid).split(b"\0"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def random_faults(seed: int, count: int, most: int, kinds: dict[Kind, int], *, of_client: bool = False) -> list[Fault]:
    """Return `count` faults after up to `most` bytes each; `kinds` gives their proportions, `seed` their order."""
    chance = random.Random(seed)
    pool = [kind for kind, share in kinds.items() for _ in range(share)]
    drawn = [pool[number % len(pool)] for number in range(count)]
    chance.shuffle(drawn)
    # One in eight comes early: in the handshake, in the login, or before the first message about the run.
    ends = [chance.randrange(100, 6000 if chance.random() < 1 / 8 else most) for _ in drawn]
    ends[0] = max(ends[0], LOGGED_IN)
    sides: list[Literal["service", "client"]] = [
        "client" if of_client and chance.random() < 1 / 2 else "service" for _ in drawn
    ]
    return [Fault(kind, after, of) for kind, after, of in zip(drawn, ends, sides, strict=True)]


@contextlib.asynccontextmanager
async def network_service(directory: Path, config: str = "") -> AsyncIterator[Service]:
    """Run a service on loopback, with a core and an edge, that admits the key `directory`/key."""
    make_key(directory / "key")
    allowed = directory / "config" / "farhand" / "authorized_keys"
    allowed.parent.mkdir(parents=True, exist_ok=True)
    allowed.write_text((directory / "key.pub").read_text())
    allowed.chmod(0o600)
    async with running_service(directory, listen=True, config=config) as service:
        yield service


async def check_nothing_is_left(service: Service) -> None:
    """Check that no run is active and no client is attached."""
    async with farhand_client.connect(service.host) as client:
        assert [(run.id, run.attachments) for run in await client.runs(ended=True) if not run.outcome] == []
        async with asyncio.timeout(20):
            while any(run.attachments for run in await client.runs(ended=True)):
                pass


@contextlib.asynccontextmanager
async def client_through(line: FaultyProxy, directory: Path, *, reconnect: float = 60.0) -> AsyncIterator[Client]:
    """Connect and log in through the proxy, with a client that reconnects."""
    known_hosts = directory / "known_hosts"
    if not known_hosts.exists():
        line.sound = True
        async with farhand_client.connect(
            f"127.0.0.1:{line.port}", identities=[directory / "key"], known_hosts=known_hosts, accept_new=True
        ):
            line.sound = False
    async with farhand_client.connect(
        f"127.0.0.1:{line.port}",
        identities=[directory / "key"],
        known_hosts=known_hosts,
        keepalive=KEEPALIVE,
        timeout=HANDSHAKE,
        reconnect=reconnect,
    ) as client:
        yield client
