"""A bare protocol client for tests of the service: it can be slow, break the protocol, or vanish."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from farhand_protocol import messages as m
from farhand_protocol.connection import DEFAULT_LIMITS, Connection
from farhand_protocol.events import DataReceived, Event, MessageReceived
from farhand_protocol.limits import Limits
from farhand_protocol.states import Side
from farhand_protocol.transport import ConnectionTransport

TIMEOUT = 45.0
"""Timeout, in seconds, for anything awaited from the service."""


def new_id() -> str:
    """Return a new run id."""
    return str(uuid.uuid4())


class RemoteRun:
    """One run as its client sees it. With `credit` false, the client grants no credit beyond the first window."""

    def __init__(
        self, client: RawClient, channel: int, request: m.RunRequest | m.Attach, *, credit: bool, keep: bool
    ) -> None:
        self.client = client
        self.channel = channel
        self.request = request
        self.credit = credit
        self._output = {"stdout": bytearray(), "stderr": bytearray()}
        self.totals = {"stdout": 0, "stderr": 0}
        self.sha256 = hashlib.sha256()
        """Of stdout."""
        self.transcript: list[str] = []
        """What was received, in order: message types and stream names; consecutive data of one stream counts once."""
        self.sizes: list[m.WindowSize] = []
        """Sizes of the run's terminal announced by the service, in order."""
        self.feeds = False
        """Whether the service has confirmed that this attachment sends the run's stdin."""
        self.stdin_credit = 0
        """Bytes of stdin for which the service has granted credit."""
        self._keep = keep
        self._closed = False
        self._ungranted = {"stdout": 0, "stderr": 0}
        loop = asyncio.get_running_loop()
        self._last: asyncio.Future[m.Ended | m.Error | m.Done] = loop.create_future()
        self._started: asyncio.Future[int] = loop.create_future()
        self._grown = asyncio.Event()

    @property
    def stdout(self) -> bytes:
        """All of stdout received so far."""
        return bytes(self._output["stdout"])

    @property
    def stderr(self) -> bytes:
        """All of stderr received so far."""
        return bytes(self._output["stderr"])

    async def last(self) -> m.Ended | m.Error | m.Done:
        """Wait for the service's last message on this channel."""
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.shield(self._last)

    async def ended(self) -> m.Ended:
        """Wait for the run's outcome; an error instead fails the test."""
        last = await self.last()
        assert isinstance(last, m.Ended), last
        return last

    async def error(self) -> m.Error:
        """Wait for the run to be refused; return the error."""
        last = await self.last()
        assert isinstance(last, m.Error), last
        return last

    async def started(self) -> int:
        """Wait for the program to start; return its pid."""
        async with asyncio.timeout(TIMEOUT):
            return await asyncio.shield(self._started)

    async def has_started(self) -> bool:
        """Wait until the program has started or the run has ended; return whether it started."""
        async with asyncio.timeout(TIMEOUT):
            await asyncio.wait((self._started, self._last), return_when=asyncio.FIRST_COMPLETED)
        return self._started.done()

    async def output(self, count: int) -> bytes:
        """Wait for at least `count` bytes of stdout; return all received."""
        async with asyncio.timeout(TIMEOUT):
            while self.totals["stdout"] < count:
                self._grown.clear()
                await self._grown.wait()
        return self.stdout

    async def until(self, text: bytes) -> bytes:
        """Wait for `text` in stdout; return all of stdout."""
        async with asyncio.timeout(TIMEOUT):
            while text not in self.stdout:
                assert not self._last.done(), f"the run ended without {text!r}: {self.stdout!r}"
                self._grown.clear()
                await self._grown.wait()
        return self.stdout

    async def match(self, pattern: bytes, begin: int = 0) -> re.Match[bytes]:
        """Wait until a regular expression matches in stdout at or after offset `begin`."""
        async with asyncio.timeout(TIMEOUT):
            while (found := re.compile(pattern).search(self.stdout, begin)) is None:
                assert not self._last.done(), f"the run ended without {pattern!r}: {self.stdout!r}"
                self._grown.clear()
                await self._grown.wait()
        return found

    async def resized(self, columns: int, rows: int) -> None:
        """Wait until the service announces this size of the run's terminal."""
        async with asyncio.timeout(TIMEOUT):
            while m.WindowSize(columns=columns, rows=rows) not in self.sizes[-1:]:
                self._grown.clear()
                await self._grown.wait()

    async def line(self) -> str:
        """Wait for the first complete line of stdout; return all of stdout."""
        async with asyncio.timeout(TIMEOUT):
            while b"\n" not in self.stdout:
                self._grown.clear()
                await self._grown.wait()
        return self.stdout.decode().strip()

    async def prints_a_line(self) -> bool:
        """Wait for the first complete line of stdout or the run's end; return whether there is a line."""
        async with asyncio.timeout(TIMEOUT):
            while b"\n" not in self.stdout and not self._last.done():
                self._grown.clear()
                await self._grown.wait()
        return b"\n" in self.stdout

    def send(self, message: m.Message) -> None:
        """Send a message on this channel."""
        self.client.connection.send(self.channel, message)
        self.client.flush()

    def close(self, *, lost: bool | None = None) -> None:
        """Close the channel; with `lost` as if the client behind it were lost."""
        self._closed = True
        self.send(m.Close(lost=lost))

    def write(self, data: bytes) -> int:
        """Send as much of `data` as the credit allows; return the number of bytes sent."""
        sent = 0
        while sent < len(data):
            room = self.client.connection.room(self.channel, "stdin")
            if not room:
                break
            self.client.connection.send_data(self.channel, "stdin", data[sent : sent + room])
            sent += min(room, len(data) - sent)
        self.client.flush()
        return sent

    def grant(self) -> None:
        """Grant all withheld credit, and grant credit from now on."""
        self.credit = True
        for stream, count in self._ungranted.items():
            self.client.connection.acknowledge(self.channel, cast(m.Stream, stream), count)
            self._ungranted[stream] = 0
        self.client.flush()

    def connection_lost(self) -> None:
        """Fail everything that still waits for a message."""
        for future in (self._last, self._started):
            if not future.done():
                future.set_exception(ConnectionResetError("the service has closed the connection"))
                future.exception()  # mark as retrieved: possibly nothing waits for it

    def received(self, event: DataReceived | MessageReceived) -> None:
        """Record an event of this channel."""
        if isinstance(event, DataReceived):
            self._data(event)
            return
        message = event.message
        self.transcript.append(message.type)
        if isinstance(message, m.Started):
            self.feeds = message.stdin
            self._started.set_result(message.pid)
        elif isinstance(message, m.Credit):
            self.stdin_credit += message.bytes
            self._grown.set()
        elif isinstance(message, m.Resize):
            self.sizes.append(m.WindowSize(columns=message.columns, rows=message.rows))
            self._grown.set()
        elif isinstance(message, m.Ended | m.Error | m.Done):
            self._last.set_result(message)
            self._grown.set()
            if not self.client.connection.closed and not self._closed:
                self.client.flush()
                self.client.connection.send(self.channel, m.Close())

    def _data(self, event: DataReceived) -> None:
        if not self.transcript or self.transcript[-1] != event.stream:
            self.transcript.append(event.stream)
        self.totals[event.stream] += len(event.data)
        if event.stream == "stdout":
            self.sha256.update(event.data)
        if self._keep:
            self._output[event.stream].extend(event.data)
        if self.credit:
            self.client.connection.acknowledge(self.channel, event.stream, len(event.data))
        else:
            self._ungranted[event.stream] += len(event.data)
        self._grown.set()


class RawClient:
    """A connection to a service. Once `connect` returns, the handshake is over and the client is logged in."""

    def __init__(self, limits: Limits) -> None:
        self.connection = Connection(Side.CLIENT, limits)
        self.runs: dict[int, RemoteRun] = {}
        self.messages: list[m.AnyMessage] = []
        """The messages on channel 0."""
        self.disconnected = asyncio.Event()
        self._connection_transport: ConnectionTransport | None = None
        self._transport: asyncio.Transport | None = None
        self._changed = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, path: Path, *, limits: Limits = DEFAULT_LIMITS, user: str | None = None
    ) -> AsyncIterator[RawClient]:
        """Connect to the socket at `path`, send hello and wait until logged in."""
        client = cls(limits)
        connection_transport = ConnectionTransport(client.connection, client)
        transport, _ = await asyncio.get_running_loop().create_unix_connection(
            lambda: connection_transport, os.fspath(path)
        )
        client._transport = transport
        try:
            client.connection.send(
                0,
                m.Hello(
                    versions=(1,),
                    software="test",
                    limits=client.connection.announced_limits,
                    nonce=os.urandom(32),
                    user=user,
                ),
            )
            client.flush()
            await client.wait_for_message(m.Accepted, m.Error)
            yield client
        finally:
            client.abort()
            async with asyncio.timeout(TIMEOUT):
                await client.disconnected.wait()

    async def wait_for_message(self, *kinds: type[m.Message]) -> m.AnyMessage:
        """Wait for a message of one of these types on channel 0; return the first."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                for message in self.messages:
                    if isinstance(message, kinds):
                        return message
                assert not self.disconnected.is_set(), f"the connection was lost before any of {kinds}"
                self._changed.clear()
                await self._changed.wait()

    async def closed(self) -> None:
        """Wait until the service has closed the connection."""
        async with asyncio.timeout(TIMEOUT):
            await self.disconnected.wait()

    def start(self, *argv: bytes | str, credit: bool = True, keep: bool = True, **fields: object) -> RemoteRun:
        """Request a run. Other fields of the request are keyword arguments; `shell=` replaces the arguments.

        `grace` is 0 unless given, so that the run ends with the connection and does not disturb the next test.
        """
        given: dict[str, object] = {"id": new_id(), "grace": 0.0}
        if argv:
            given["argv"] = tuple(os.fsencode(argument) for argument in argv)
        if isinstance(fields.get("shell"), str):
            fields["shell"] = os.fsencode(cast(str, fields["shell"]))
        return self._open(m.RunRequest.model_validate(given | fields), credit=credit, keep=keep)

    def attach(self, run_id: str, *, credit: bool = True, keep: bool = True, **fields: object) -> RemoteRun:
        """Attach to a run. Other fields of the request are keyword arguments."""
        return self._open(m.Attach.model_validate({"id": run_id} | fields), credit=credit, keep=keep)

    def _open(self, request: m.RunRequest | m.Attach, *, credit: bool, keep: bool) -> RemoteRun:
        channel = self.connection.open(request)
        run = self.runs[channel] = RemoteRun(self, channel, request, credit=credit, keep=keep)
        self.flush()
        return run

    async def run(self, *argv: bytes | str, **fields: object) -> tuple[m.Ended, RemoteRun]:
        """Run a command and wait for its outcome."""
        run = self.start(*argv, **fields)  # type: ignore[arg-type]  # `credit` and `keep` are not passed here
        return await run.ended(), run

    async def round_trip(self) -> None:
        """Wait until the service has processed and answered everything sent on channel 0 so far."""
        number = sum(isinstance(message, m.Pong) for message in self.messages)
        self.connection.send(0, m.Ping(id=number))
        self.flush()
        async with asyncio.timeout(TIMEOUT):
            while sum(isinstance(message, m.Pong) for message in self.messages) <= number:
                assert not self.disconnected.is_set(), "the connection was lost"
                self._changed.clear()
                await self._changed.wait()

    def flush(self) -> None:
        """Send all queued frames."""
        if self._connection_transport is not None:
            self._connection_transport.flush()

    def raw(self, data: bytes) -> None:
        """Send raw bytes."""
        assert self._transport is not None
        self._transport.write(data)

    def stop_reading(self) -> None:
        """Stop reading from the socket."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading from the socket."""
        assert self._transport is not None
        self._transport.resume_reading()

    def abort(self) -> None:
        """Close the connection without a message."""
        if self._transport is not None:
            self._transport.abort()

    # Implements the handler of `ConnectionTransport`.

    def connected(self, transport: ConnectionTransport) -> None:
        self._connection_transport = transport

    def received(self, event: Event) -> None:
        if isinstance(event, DataReceived | MessageReceived):
            if event.channel:
                run = self.runs.get(event.channel)
                if run is not None:
                    run.received(event)
            elif isinstance(event, MessageReceived):
                self.messages.append(event.message)
        else:
            raise AssertionError(f"the service broke the protocol: {event}")
        self._changed.set()

    def writable(self) -> None:
        pass

    def lost(self, error: Exception | None) -> None:
        self.disconnected.set()
        self._changed.set()
        for run in self.runs.values():
            run.connection_lost()
