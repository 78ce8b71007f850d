"""A `ConnectionTransport` on a real socket whose peer is the test, and a handler that records its calls."""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.events import Event
from farhand_protocol.limits import MAX_WINDOW
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import ConnectionTransport
from tests.support.pairs import in_phase, message, run

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
CHUNK = bytes(64 * 1024)
PING = message(0, m.Ping(id=1))


def on_each_loop(scenario: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the scenario on asyncio and on uvloop; an unhandled error on either is a failure."""

    async def guarded(**fixtures: Any) -> None:
        unhandled: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        async with asyncio.timeout(20):
            await scenario(**fixtures)
        assert unhandled == []

    def test(loop: str, **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(guarded(**fixtures))

    # pytest takes the fixtures from the signature.
    wanted = inspect.signature(scenario)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    named = wanted.replace(parameters=[*wanted.parameters.values(), loop], return_annotation=None)
    functools.update_wrapper(test, scenario)
    vars(test).update(__signature__=named)
    del vars(test)["__wrapped__"]
    parametrized: Callable[..., None] = pytest.mark.parametrize("loop", LOOPS)(test)
    return parametrized


class Recorder:
    """A handler that records its calls, and can answer."""

    def __init__(self, answer: Callable[[ConnectionTransport, Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self.losses: list[Exception | None] = []
        self.writables = 0
        self._answer = answer
        self._transport: ConnectionTransport | None = None
        self._changed = asyncio.Event()

    @property
    def transport(self) -> ConnectionTransport:
        assert self._transport is not None
        return self._transport

    def connected(self, transport: ConnectionTransport) -> None:
        self._transport = transport

    def received(self, event: Event) -> None:
        assert self.losses == []
        self.events.append(event)
        self._changed.set()
        if self._answer is not None:
            self._answer(self.transport, event)

    def writable(self) -> None:
        assert self.losses == []
        self.writables += 1
        self._changed.set()

    def lost(self, error: Exception | None) -> None:
        self.losses.append(error)
        self._changed.set()

    async def wait_for_events(self, count: int) -> None:
        """Wait for that many events."""
        await self.until(lambda: len(self.events) >= count)

    async def end(self) -> None:
        """Wait until the transport is closed."""
        await self.until(lambda: self.losses)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


def sockets() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection, with small buffers, so that they fill soon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        end.setblocking(False)
    return ours, theirs


async def attach(connection: Connection, recorder: Recorder, end: socket.socket) -> ConnectionTransport:
    await asyncio.get_running_loop().create_connection(lambda: ConnectionTransport(connection, recorder), sock=end)
    return recorder.transport


async def read_to_end(peer: socket.socket) -> bytes:
    loop, received = asyncio.get_running_loop(), bytearray()
    while data := await loop.sock_recv(peer, 1 << 18):
        received += data
    return bytes(received)


def serving() -> Connection:
    """Return a service with one current run and more credit than any test needs."""
    server = in_phase(Side.SERVER, Phase.READY)
    credit = m.Credit(stream="stdout", bytes=MAX_WINDOW - server.limits.window)
    list(server.receive_data(message(1, run()) + message(1, credit)))
    server.send(1, m.Started(pid=1))
    server.data_to_send()
    return server


async def fill(transport: ConnectionTransport) -> int:
    """Send as long as there is room; return the number of frames sent."""
    count = 0
    while transport.room:
        transport.connection.send_data(1, "stdout", CHUNK)
        transport.flush()
        count += 1
        await asyncio.sleep(0)  # uvloop writes at the end of an iteration
    return count
