"""A service whose every message is determined by a test: only the server side of the protocol, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farhand_client import Client, connect
from farhand_client.connection.reconnecting import OutageCallback
from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import DataReceived, Event, MessageReceived
from farhand_protocol.limits import Limits
from farhand_protocol.outcome import Exited, Outcome
from farhand_protocol.states import Side
from farhand_protocol.transport import ConnectionTransport


class ObservedTransport(ConnectionTransport):
    """A transport whose socket a test can access, and whose reads it can await."""

    def __init__(self, connection: FakeConnection) -> None:
        super().__init__(connection.connection, connection)
        self.socket_transport: asyncio.Transport | None = None
        self.read = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.socket_transport = transport
        super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        self.read.set()
        super().buffer_updated(nbytes)


class FakeConnection:
    """Handler of one client's connection. It keeps what it receives for the test and passes it to its `FakeService`."""

    def __init__(self, service: FakeService) -> None:
        self.service = service
        self.connection = Connection(Side.SERVER, service.limits)
        self.runs: dict[int, FakeRun] = {}
        self.questions: set[int] = set()
        self.messages: list[m.AnyMessage] = []
        self.closed = asyncio.Event()
        self.transport: ObservedTransport | None = None
        self._writable = asyncio.Event()

    def send(self, message: m.Message, channel: int = 0) -> None:
        self.connection.send(channel, message)
        self.flush()

    def flush(self) -> None:
        if self.transport is not None:
            self.transport.flush_soon()

    def cut(self) -> None:
        """Close the connection as a crash would."""
        assert self.transport is not None
        self.transport.abort()

    def send_raw(self, data: bytes) -> None:
        """Send raw bytes, which may violate the protocol."""
        self._socket_transport.write(data)

    def fall_silent(self) -> None:
        """Stop reading and answering, like a machine cut off from the network."""
        self._socket_transport.pause_reading()

    async def reads(self, count: int) -> None:
        """Wait for `count` more reads from the client: pings are answered by the connection, unseen by the handler."""
        assert self.transport is not None
        for _ in range(count):
            self.transport.read.clear()
            await self.transport.read.wait()

    @property
    def _socket_transport(self) -> asyncio.Transport:
        assert self.transport is not None
        assert self.transport.socket_transport is not None
        return self.transport.socket_transport

    async def _behave(self, run: FakeRun) -> None:
        try:
            await self.service.behave(run)
        except Exception:
            if self.transport is not None:
                self.cut()  # make the test fail instead of hanging
            raise

    async def room(self) -> None:
        self._writable.clear()
        await self._writable.wait()

    # Handler

    def connected(self, transport: ConnectionTransport) -> None:
        assert isinstance(transport, ObservedTransport)
        self.transport = transport
        self.service.connections.append(self)

    def received(self, event: Event) -> None:
        match event:
            case DataReceived():
                run = self.runs[event.channel]
                run.stdin += event.data
                if run.takes_stdin and run.has_started:
                    self.connection.acknowledge(event.channel, "stdin", len(event.data))
                    self.flush()
                run.changed.set()
            case MessageReceived(channel=0):
                self.messages.append(event.message)
                self.service.greet(self, event.message)
            case MessageReceived(message=m.RunRequest() as request):
                self.service.requests.setdefault(request.id, request)
                self._begin(FakeRun(self, event.channel, request))
            case MessageReceived(message=m.Attach() as attach):
                request = self.service.requests.get(attach.id) or m.RunRequest(id=attach.id, argv=(b"unknown",))
                self._begin(FakeRun(self, event.channel, request, attach))
            case MessageReceived(
                message=m.List() | m.Deliver() | m.WaitFor() | m.RecordingRequest() | m.StatusRequest() as question
            ):
                self.questions.add(event.channel)
                self.service.questions.append(question)
                self.service.answer(self, event.channel, question)
            case MessageReceived() if event.channel in self.questions:
                self.messages.append(event.message)
            case MessageReceived():
                if isinstance(event.message, m.Credit):
                    self.writable()
                else:
                    self.runs[event.channel].messages.append(event.message)
                    self.runs[event.channel].changed.set()

    def _begin(self, run: FakeRun) -> None:
        self.runs[run.channel] = run
        self.service.runs.append(run)
        self.service.arrived.set()
        run.takes_stdin = self.service.takes_stdin
        self.service.tasks.append(asyncio.ensure_future(self._behave(run)))

    def writable(self) -> None:
        self._writable.set()

    def lost(self, error: Exception | None) -> None:
        self.transport = None
        self.closed.set()
        for run in self.runs.values():
            run.changed.set()


@dataclass
class FakeRun:
    """One attachment to a run as the service sees it; a test determines what happens to it.

    `request` is the run's request; `attach` is the request that opened the channel, unless that started the run.
    """

    client: FakeConnection
    channel: int
    request: m.RunRequest
    attach: m.Attach | None = None
    stdin: bytes = b""
    takes_stdin: bool = True
    has_started: bool = False
    messages: list[m.AnyMessage] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sent: dict[m.Stream, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})
    """The offsets up to which the output was sent."""

    def __post_init__(self) -> None:
        if self.attach is not None:
            self.sent = {"stdout": self.attach.stdout or 0, "stderr": self.attach.stderr or 0}

    @property
    def streams(self) -> list[m.Output]:
        """The streams that the client wants."""
        if self.attach is None:
            return ["stdout"] if self.request.merge_stderr else ["stdout", "stderr"]
        wanted: dict[m.Output, int | None] = {"stdout": self.attach.stdout, "stderr": self.attach.stderr}
        return [stream for stream, offset in wanted.items() if offset is not None]

    def send(self, message: m.Message) -> None:
        self.client.send(message, self.channel)

    def started(self, pid: int = 4711, *, new: bool | None = None) -> None:
        feeds = self.request.stdin if self.attach is None else self.attach.stdin is not None
        self.has_started = True
        self.send(m.Started(pid=pid, new=self.attach is None if new is None else new, stdin=feeds))
        if self.takes_stdin and self.stdin:
            self.client.connection.acknowledge(self.channel, "stdin", len(self.stdin))

    async def write(self, stream: m.Stream, data: bytes) -> None:
        """Send all of `data`, as fast as the client grants credit."""
        connection = self.client.connection
        while data:
            room = connection.room(self.channel, stream)
            if not room or self.client.transport is None or not self.client.transport.room:
                if self.client.closed.is_set():
                    return
                self.client.flush()
                await self.client.room()
                continue
            connection.send_data(self.channel, stream, data[:room])
            self.sent[stream] += len(data[:room])
            data = data[room:]
            self.client.flush()

    def ended(self, outcome: Outcome | None = None, *, duration: float = 0.25, **more: Any) -> None:
        """End the streams if the run has started, then the run. `more` replaces fields of `ended`."""
        for stream in self.streams if self.has_started else ():
            self.send(m.End(stream=stream))
        totals = {"stdout": self.sent["stdout"], "stderr": self.sent["stderr"]}
        self.send(m.Ended(outcome=outcome or Exited(code=0), duration=duration, **{**totals, **more}))

    async def write_rest(self, stream: m.Stream, whole: bytes) -> None:
        """Send the part of the stream's `whole` output that the client does not have yet."""
        if stream in self.streams:
            await self.write(stream, whole[self.sent[stream] :])

    async def lost(self) -> None:
        """Wait until the client's connection is lost."""
        await self.client.closed.wait()

    async def until(self, kind: type[m.Message]) -> m.Message:
        """Wait for the client's next message about this run."""
        while True:
            for message in self.messages:
                if isinstance(message, kind):
                    return message
            if self.client.closed.is_set():
                raise ConnectionError(f"the connection ended without {kind.__name__}")
            self.changed.clear()
            await self.changed.wait()


Behaviour = Callable[[FakeRun], Awaitable[None]]
Answer = Callable[[FakeConnection, int, m.AnyMessage], None]


async def succeed(run: FakeRun) -> None:
    """Start and end with code 0."""
    run.started()
    run.ended()


class FakeService:
    """Greets like a service on a Unix socket, unless `greet` is replaced; `behave` determines the behaviour of runs."""

    def __init__(self, behave: Behaviour = succeed, *, limits: Limits | None = None, takes_stdin: bool = True) -> None:
        self.behave = behave
        self.takes_stdin = takes_stdin
        self.limits = limits or Limits()
        self.features: tuple[str, ...] = ()
        """The features that it announces."""
        self.greet: Callable[[FakeConnection, m.AnyMessage], None] = accept_client
        self.answer: Answer = nothing_found
        self.connections: list[FakeConnection] = []
        self.runs: list[FakeRun] = []
        """Every attachment, in order of arrival."""
        self.arrived = asyncio.Event()
        self.requests: dict[str, m.RunRequest] = {}
        """The first request for each id."""
        self.questions: list[m.AnyMessage] = []
        self.tasks: list[asyncio.Future[None]] = []
        self.shell = b"/bin/sh"
        """The account's shell, where runs are programs of this machine (`local_programs`)."""
        self.host = ""

    def new_transport(self) -> ObservedTransport:
        return ObservedTransport(FakeConnection(self))

    @contextlib.asynccontextmanager
    async def on_socket(self, directory: Path) -> AsyncIterator[FakeService]:
        path = directory / "fake.sock"
        self.host = f"unix:{path}"
        server = await asyncio.get_running_loop().create_unix_server(self.new_transport, path)
        async with self._serving(server):
            yield self

    @contextlib.asynccontextmanager
    async def on_tls(self, context: ssl.SSLContext) -> AsyncIterator[FakeService]:
        server = await asyncio.get_running_loop().create_server(self.new_transport, "127.0.0.1", 0, ssl=context)
        self.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with self._serving(server):
            yield self

    @contextlib.asynccontextmanager
    async def _serving(self, server: asyncio.Server) -> AsyncIterator[None]:
        try:
            yield
        finally:
            server.close()
            for connection in self.connections:
                if connection.transport is not None:
                    connection.transport.abort()
                    await connection.closed.wait()
            for task in self.tasks:
                task.cancel()
            results = await asyncio.gather(*self.tasks, return_exceptions=True)
            for result in results:
                if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                    raise result


def accept_client(client: FakeConnection, message: m.AnyMessage) -> None:
    """Accept every client that sends hello."""
    if isinstance(message, m.Hello):
        client.send(welcome(client, login=False))
        client.send(m.Accepted(user="ann", host="fake"))


def nothing_found(client: FakeConnection, channel: int, question: m.AnyMessage) -> None:
    """Answer that the run is unknown."""
    if isinstance(question, m.List):
        client.send(m.Done(), channel)
    else:
        client.send(m.Error(code=ErrorCode.UNKNOWN_RUN, message="there is no such run"), channel)


def welcome(client: FakeConnection, *, login: bool) -> m.Welcome:
    limits = client.connection.announced_limits
    features = client.service.features
    return m.Welcome(version=1, software="fake/1", features=features, limits=limits, login=login, nonce=os.urandom(32))


def refusing(code: ErrorCode, sentence: str) -> Behaviour:
    """Return the behaviour that answers a request with an error."""

    async def behave(run: FakeRun) -> None:
        run.send(m.Error(code=code, message=sentence))

    return behave


@contextlib.asynccontextmanager
async def client_of(
    directory: Path,
    behave: Behaviour = succeed,
    *,
    limits: Limits | None = None,
    takes_stdin: bool = True,
    reconnect: float | None = None,
    watch: OutageCallback | None = None,
) -> AsyncIterator[tuple[Client, FakeService]]:
    """Log a client in to a fake service on a Unix socket; without `reconnect` it does not reconnect."""
    async with (
        FakeService(behave, limits=limits, takes_stdin=takes_stdin).on_socket(directory) as service,
        connect(service.host, reconnect=reconnect, watch=watch) as client,
    ):
        yield client, service
