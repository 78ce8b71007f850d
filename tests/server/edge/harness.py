"""An edge with real sockets on both sides: a fake core that parses PROXY headers and sends verdicts, and TLS
clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from farhand_server import hostkey
from farhand_server.config import EdgeSettings
from farhand_server.edge.edge import Edge
from farhand_server.edge.preliminary import BrowserEntry
from farhand_server.edge.tls import server_context
from farhand_server.listen import proxy
from farhand_server.listen.feed import FromCore, encode_record
from farhand_server.listen.proxy import ProxyHeader
from farhand_server.logs import Logger, LogSink

TEST_TIMEOUT = 10.0
"""Seconds after which a test stops waiting."""


def client_context(*alpn: str) -> ssl.SSLContext:
    """Return the context of a client that accepts any certificate: these tests are not about trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn or ("farhand/1",)))
    return context


def openssl_hello(*alpn: str, server_name: str | None = None) -> bytes:
    """Return what Python's client sends first."""
    sent = ssl.MemoryBIO()
    tls = client_context(*alpn).wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return sent.read()


@dataclass
class Peer:
    """One end of a connection; at the core's end, with the PROXY header that it began with."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    header: ProxyHeader = field(default_factory=ProxyHeader)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self, size: int) -> bytes:
        async with asyncio.timeout(TEST_TIMEOUT):
            return await self.reader.readexactly(size)

    async def read_to_end(self) -> bytes:
        """Return what is received until the peer ends, in order or by a reset."""
        received = b""
        async with asyncio.timeout(TEST_TIMEOUT):
            try:
                while data := await self.reader.read(1 << 16):
                    received += data
            except OSError:
                pass
        return received

    async def fill(self, bound: int) -> int:
        """Write until nothing is accepted for half a second; return the bytes accepted. Fails above `bound` bytes."""
        sent = 0
        while sent < bound:
            self.writer.write(bytes(1 << 16))
            sent += 1 << 16
            try:
                async with asyncio.timeout(0.5):
                    await self.writer.drain()
            except TimeoutError:
                return sent
        raise AssertionError(f"{sent} bytes were accepted for a peer that does not read")

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Reset the connection: RST on TCP."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


class FakeCore:
    """Accepts an edge's connections; `client` returns the next one, `verdict` writes to every feed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.feeds: list[Peer] = []
        self.feed_connected = asyncio.Event()
        self.clients: asyncio.Queue[Peer] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self.path, limit=1 << 16)

    async def client(self) -> Peer:
        async with asyncio.timeout(TEST_TIMEOUT):
            return await self.clients.get()

    async def verdict(self, client: Peer, verdict: FromCore) -> None:
        assert client.header.unique_id is not None
        for feed in self.feeds:
            await feed.send(encode_record(verdict, client.header.unique_id))

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.path.unlink(missing_ok=True)
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.feeds.clear()
        self.feed_connected.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()  # accepted just before the stop
            return
        self._writers.append(writer)
        head = await reader.readexactly(16)
        head += await reader.readexactly(int.from_bytes(head[14:16], "big"))
        parsed = proxy.parse(head)
        assert parsed is not None
        peer = Peer(reader, writer, parsed[0])
        if peer.header.local:
            self.feeds.append(peer)
            self.feed_connected.set()
        else:
            self.clients.put_nowait(peer)


@dataclass
class RunningEdge:
    """A running edge, its fake core and its clients."""

    edge: Edge
    core: FakeCore
    port: int
    log: Path
    _peers: list[Peer] = field(default_factory=list)

    async def connect(self, context: ssl.SSLContext | None = None) -> Peer:
        return await self._connect(context or client_context())

    async def connect_bare(self) -> Peer:
        """Connect over TCP, without TLS."""
        return await self._connect(None)

    def connect_blocking(self) -> ssl.SSLSocket:
        """Connect, for use in a thread: uvloop's TLS client drops undelivered data when the peer ends."""
        return client_context().wrap_socket(socket.create_connection(("127.0.0.1", self.port), TEST_TIMEOUT))

    def abort_peers(self) -> None:
        for peer in self._peers:
            peer.writer.transport.abort()

    async def _connect(self, context: ssl.SSLContext | None) -> Peer:
        async with asyncio.timeout(TEST_TIMEOUT):
            peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, ssl=context))
        self._peers.append(peer)
        return peer

    async def pair(self, verdict: FromCore | None = FromCore.LOGGED_IN) -> tuple[Peer, Peer]:
        """Return a client and the core's end of its connection, logged in by default."""
        client = await self.connect()
        core = await self.core.client()
        if verdict is not None:
            await self.core.verdict(core, verdict)
        return client, core

    async def core_connected(self, connected: bool = True) -> None:
        await until(lambda: self.edge.verdict_feed.connected is connected)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition without an event is true."""
    async with asyncio.timeout(TEST_TIMEOUT):
        while not condition():  # noqa: ASYNC110  # the edge has no events for tests
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running_edge(
    tmp_path: Path, settings: EdgeSettings, *, with_core: bool = True, browsers: BrowserEntry | None = None
) -> AsyncIterator[RunningEdge]:
    """Run an edge on a free port; with a `browsers`, without TLS."""
    loop = asyncio.get_running_loop()
    core = FakeCore(tmp_path / "edge.sock")
    if with_core:
        await core.start()
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    with (tmp_path / "log").open("wb") as log:
        context = None if browsers is not None else server_context(hostkey.ensure_host_key(tmp_path))
        edge = Edge(loop, [listening], core.path, context, settings, Logger(LogSink(log.fileno()), {}), browsers)
        edge.limiter.random = lambda: 1.0  # a busy machine drops no connection at random
        running = RunningEdge(edge, core, listening.getsockname()[1], tmp_path / "log")
        feed = asyncio.create_task(edge.verdict_feed.run())
        if with_core:
            await running.core_connected()
            await core.feed_connected.wait()
        edge.start_accepting()
        try:
            yield running
        finally:
            running.abort_peers()
            edge.stop_accepting()
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
            edge.abort()
            if with_core:
                core.stop()
            await asyncio.sleep(0)  # lets aborted transports close
