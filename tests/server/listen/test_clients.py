"""A connection is served as the client that the kernel or the edge names, and edges are notified of logins."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.events import MessageReceived
from farhand_protocol.states import Side
from farhand_server.admission.caller import Caller
from farhand_server.admission.shares import Shares
from farhand_server.audit import AuditEntry
from farhand_server.auth.accounts import peer_principal
from farhand_server.config import load
from farhand_server.connection.context import OpenSessions, SessionContext
from farhand_server.listen.clients import LocalConnection, ProxiedConnection
from farhand_server.listen.feed import FromCore, encode_record
from farhand_server.listen.feeds import VerdictFeeds
from farhand_server.listen.proxy import MAX_HEADER, SIGNATURE, ProxyHeader, encode
from farhand_server.logs import Logger, LogSink
from farhand_server.policy import Policy
from tests.support.feeds import fed
from tests.support.pairs import hello
from tests.support.registry import NoRuns

TIMEOUT = 10.0


class Context:
    """What the connections need from the core."""

    def __init__(self, directory: Path) -> None:
        self.config = load(None, overrides={"state_dir": str(directory)})
        self.policy = Policy()
        self.authenticator = None
        self.registry = None
        self.shares = Shares(NoRuns())
        self.sessions = OpenSessions()
        self.entries: list[AuditEntry] = []
        self.stopping = False

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


class Peer:
    """The client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.client = Connection(Side.CLIENT)

    async def closed(self) -> None:
        """Check that the service closes the connection without a message."""
        async with asyncio.timeout(TIMEOUT):
            assert await self.reader.read() == b""

    async def refused(self) -> tuple[str, str]:
        """Return code and sentence of the error with which the service closes the connection."""
        async with asyncio.timeout(TIMEOUT):
            *_, event = Connection(Side.CLIENT).receive_data(await self.reader.read())
        assert isinstance(event, MessageReceived)
        assert isinstance(event.message, m.Error)
        return event.message.code, event.message.message

    async def greet(self, before: bytes = b"") -> list[str]:
        """Send `before` and a hello; return the types of the answers up to the login's start or end."""
        self.client.send(0, hello().model_copy(update={"user": None}))
        self.writer.write(before + b"".join(self.client.data_to_send()))
        return await self.answers()

    async def answers(self) -> list[str]:
        found: list[m.AnyMessage] = []
        async with asyncio.timeout(TIMEOUT):
            while not found or (isinstance(found[-1], m.Welcome) and not found[-1].login):
                data = await self.reader.read(1 << 16)
                assert data
                found += [
                    event.message for event in self.client.receive_data(data) if isinstance(event, MessageReceived)
                ]
        return [message.type for message in found]


@contextlib.asynccontextmanager
async def connected(make: Callable[[], asyncio.Protocol]) -> AsyncIterator[Peer]:
    """A Unix connection that is served by a protocol."""
    ours, theirs = socket.socketpair()
    await asyncio.get_running_loop().create_connection(make, sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


OTHER = 65534  # nobody: an account that every machine has


async def test_a_local_client_is_logged_in_as_the_account_that_was_found(context: Context) -> None:
    caller = Caller.of(peer_principal(OTHER))
    log = Logger(LogSink(), {})
    async with connected(lambda: LocalConnection(cast(SessionContext, context), log, caller)) as client:
        assert await client.greet() == ["welcome", "accepted"]
        (entry,) = context.entries
        assert (entry.event, entry.user) == ("login", "nobody")
        assert context.shares.connections.of(OTHER) == 1, "it counts once, although it has logged in, too"
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(*(session.gone.wait() for session in context.sessions))
    assert context.shares.connections.total == 0


class Edges:
    """The socket for edges; `feeds` records which logins are reported."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.feeds = VerdictFeeds()

    def connect(self) -> contextlib.AbstractAsyncContextManager[Peer]:
        context = cast(SessionContext, self.context)
        return connected(lambda: ProxiedConnection(context, Logger(LogSink(), {}), self.feeds))


@pytest.fixture
def edges(context: Context) -> Edges:
    return Edges(context)


HEADER = encode(ProxyHeader((IPv4Address("192.0.2.7"), 50214), (IPv4Address("198.51.100.7"), 7022), b"i" * 16))


@pytest.mark.parametrize("split", [0, 1, len(HEADER)])
async def test_a_client_of_an_edge_has_to_log_in(edges: Edges, split: int) -> None:
    async with edges.connect() as client:
        if split:
            client.writer.write(HEADER[:split])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert await client.greet(HEADER[split:]) == ["welcome"]
        assert len(edges.context.sessions) == 1
        assert edges.context.entries == []


async def test_a_client_that_leaves_is_reported_to_the_edge_as_not_logged_in(edges: Edges) -> None:
    async with fed(edges.feeds) as (feed, _), asyncio.timeout(TIMEOUT):
        async with edges.connect() as client:
            await client.greet(HEADER)
        assert await feed.readexactly(17) == encode_record(FromCore.REFUSED, b"i" * 16)


async def test_a_client_that_comes_while_the_service_stops_is_not_reported_as_refused(edges: Edges) -> None:
    edges.context.stopping = True
    async with fed(edges.feeds) as (feed, _), asyncio.timeout(TIMEOUT):
        async with edges.connect() as client:
            assert await client.greet(HEADER) == ["error"]
        edges.feeds.close()
        assert await feed.read() == b""


async def test_a_connection_of_the_edge_itself_is_a_feed(edges: Edges) -> None:
    async with edges.connect() as edge, asyncio.timeout(TIMEOUT):
        edge.writer.write(encode(ProxyHeader(local=True)))
        async with edges.connect() as client:
            await client.greet(HEADER)
        assert await edge.reader.readexactly(17) == encode_record(FromCore.REFUSED, b"i" * 16)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1", SIGNATURE + b"\x21\x11" + (MAX_HEADER).to_bytes(2, "big"), b"\0" * (MAX_HEADER + 1)]
)
async def test_without_a_header_there_is_no_session(edges: Edges, data: bytes) -> None:
    async with edges.connect() as client:
        client.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await client.closed()
    assert len(edges.context.sessions) == 0


async def test_a_header_that_does_not_arrive_in_time_closes_the_connection(edges: Edges) -> None:
    config = edges.context.config
    edges.context.config = config.model_copy(update={"login": config.login.model_copy(update={"deadline": 0.01})})
    async with edges.connect() as client:
        client.writer.write(HEADER[:20])
        with contextlib.suppress(ConnectionError):
            await client.closed()
    assert len(edges.context.sessions) == 0
