"""Copies between a WebSocket and a connection to a service, both ways and under back-pressure.

The login is done when the copying begins. The page has said `hello`, which is not passed on: this process has said its
own, and the page gets what the service has answered to that. Everything after it is copied as it comes; where frames
begin and messages of the WebSocket end has nothing to do with each other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from farhand_client.connection.login import LoginResult, introduction
from farhand_client.errors import ConnectionLost
from farhand_protocol.frames import FRAME_HEADER, Kind
from farhand_protocol.limits import FRAME_HEADER_SIZE, KiB
from farhand_protocol.transport import WRITE_HIGH, WRITE_LOW

READ_SIZE: Final = 64 * KiB
"""Bytes read from the service at once: one full data frame."""

MAX_UNSENT_TO_PAGE: Final = 256 * KiB
"""Bytes that wait until the page takes them; then nothing more is read from the service. Four full frames: what
arrives while one message is on its way."""

MAX_HELLO: Final = 16 * KiB
"""Bytes of the page's first message, as for a service before login."""


MAX_LOGINS: Final = 4
"""Logins for one page until its connection can be taken over."""

_BY_ITSELF: Final = (b'{"type":"ping"', b'{"type":"pong"', b'{"type":"credit"')
"""How messages begin that a page sends without anybody at it."""


class NoHello(Exception):
    """The page's first message is no `hello`."""


class ServiceStream(asyncio.BufferedProtocol):
    """The bytes of a connection to a service that is logged in, to be read and written by one task each."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._unsent: list[bytes] = []
        self._size = 0
        self._paused = False
        self._ended = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._transport: asyncio.Transport | None = None

    def take(self, transport: asyncio.Transport) -> None:
        """Begin with a transport whose protocol this is from now on."""
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)

    async def read(self) -> bytes:
        """Wait for bytes from the service and return all that are there; empty at the end."""
        while not self._unsent and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        data, self._unsent, self._size = b"".join(self._unsent), [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes to the service; wait while too many are unsent. Does nothing after the end."""
        if self._transport is None or self._ended:
            return
        self._transport.write(data)
        await self._room.wait()

    def close(self) -> None:
        """Cut the connection. Runs are left as after any lost connection."""
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._unsent.append(bytes(self._buffer[:nbytes]))
        self._size += nbytes
        if self._size >= MAX_UNSENT_TO_PAGE and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._arrived.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._arrived.set()
        self._room.set()


def check_hello(message: bytes | str) -> None:
    """Raise `NoHello` unless a message is one whole frame with a `hello`."""
    if not isinstance(message, bytes) or not FRAME_HEADER_SIZE < len(message) <= MAX_HELLO:
        raise NoHello("no frame")
    word, channel = FRAME_HEADER.unpack_from(message)
    if (word & 0xFF, word >> 8, channel) != (Kind.MESSAGE, len(message) - FRAME_HEADER_SIZE, 0):
        raise NoHello("another frame")
    try:
        value = json.loads(message[FRAME_HEADER_SIZE:])
    except (ValueError, RecursionError):
        raise NoHello("no JSON") from None
    if not isinstance(value, dict) or value.get("type") != "hello":
        raise NoHello("another message")


async def log_in_for_page(log_in: Callable[[], Awaitable[LoginResult]]) -> tuple[ServiceStream, LoginResult]:
    """Log in and take over the connection. Raises as `connect`.

    A service may say more than the login's end at once, such as that it shuts down; nobody may miss that, so there is
    another login then.
    """
    for left in reversed(range(MAX_LOGINS)):
        login = await log_in()
        stream = ServiceStream()
        try:
            stream.take(login.session.hand_over(stream))
        except ConnectionLost:
            await login.session.close()
            if not left:
                raise
        else:
            return stream, login
    raise AssertionError("unreachable")


async def copy_both_ways(
    page: ServerConnection, stream: ServiceStream, login: LoginResult, used: Callable[[], None]
) -> None:
    """Copy until the page or the service ends the connection, and close that to the service. `used` is called when the
    page sends what somebody has typed or clicked, and not for what it sends by itself."""
    carrier = login.session.carrier
    try:
        upward = asyncio.ensure_future(_upward(page, stream, used))
        downward = asyncio.ensure_future(_downward(page, stream, introduction(login)))
        # Both may wait for the service while the page leaves.
        gone = asyncio.ensure_future(page.wait_closed())
        parts = [upward, downward, gone]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.wait(parts)
    finally:
        stream.close()
        if carrier is not None:
            carrier.end()
            await carrier.ended()


async def _upward(page: ServerConnection, stream: ServiceStream, used: Callable[[], None]) -> None:
    with suppress(ConnectionClosed):
        async for message in page:
            if isinstance(message, bytes):
                if not message.startswith(_BY_ITSELF, FRAME_HEADER_SIZE):
                    used()
                await stream.write(message)


async def _downward(page: ServerConnection, stream: ServiceStream, first: bytes) -> None:
    with suppress(ConnectionClosed):
        await page.send(first)
        while data := await stream.read():
            await page.send(data)
