"""One connection as the client sees it: routes what comes to the attachments, calls and pings it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from farhand_client.errors import ConnectionLost, FarhandError, RequestRefused
from farhand_protocol import messages as m
from farhand_protocol.connection import (
    ChannelFailed,
    Connection,
    ConnectionFailed,
    DataReceived,
    Event,
    MessageReceived,
)
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.keepalive import Keepalive, KeepaliveAction
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import ConnectionTransport

CLOSE_TIMEOUT: Final = 2.0
"""Seconds in which a closing connection may say its last: after them it is only cut."""


class Endpoint(Protocol):
    """The client's end of a channel. The methods are called by the session and must not block."""

    number: int
    """The channel's; set when it is opened."""

    def received(self, message: m.AnyMessage) -> None:
        """A message that the state tables allow on this channel came."""

    def received_data(self, stream: m.Stream, data: bytes) -> None:
        """Bytes of a stream came."""

    def pump(self) -> None:
        """There is room to send data again."""

    def lost(self, why: FarhandError) -> None:
        """The channel is gone with its connection."""


class ClientSession:
    """The `Handler` of a client's `ConnectionTransport`. `name` says whom it talks to in errors."""

    def __init__(self, name: str, keepalive: float | None) -> None:
        self.name: Final = name
        self.connection: Final = Connection(Side.CLIENT)
        self.going_away = False
        self.on_going_away: Callable[[float], None] | None = None
        """Told the seconds that the service leaves its runs."""
        self.proved = False
        """Whether the service has said anything since the login was over."""
        self.why: FarhandError | None = None
        """What ended the connection."""
        self.broken = False
        """Whether it was ended because the service broke the protocol."""
        self._over_callback: Callable[[FarhandError], None] | None = None
        self._keepalive = Keepalive(keepalive)
        self._link: ConnectionTransport | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._login: asyncio.Queue[m.AnyMessage | FarhandError] = asyncio.Queue()
        self._channels: dict[int, Endpoint] = {}
        self._wanting_room: dict[int, Endpoint] = {}
        self._pings: dict[int, asyncio.Future[float]] = {}
        self._ping_id = 0
        self._keepalive_timer: asyncio.TimerHandle | None = None

    def link(self) -> ConnectionTransport:
        """Return the asyncio protocol for this session's one transport."""
        self._link = ConnectionTransport(self.connection, self)
        return self._link

    # Login

    async def login_message(self) -> m.AnyMessage:
        """Wait for the service's next message before it takes requests. Raises `ConnectionLost`."""
        message = await self._login.get()
        if isinstance(message, FarhandError):
            raise message
        return message

    def send(self, message: m.Message) -> None:
        """Send a message of the connection itself."""
        self.connection.send(0, message)
        self.flush_soon()

    def ready(self) -> None:
        """The login is over; from here on silence is noticed."""
        self.proved = False
        if self.why is None:
            self._keepalive.start(asyncio.get_running_loop().time())
            self._schedule_keepalive()

    def when_over(self, callback: Callable[[FarhandError], None]) -> None:
        """Have `callback` called once, after its channels are told, when nothing will come any more."""
        if self.why is not None:
            callback(self.why)
        else:
            self._over_callback = callback

    # Channels and pings

    def open(self, endpoint: Endpoint, opening: m.Message) -> None:
        """Open a channel. Raises `ConnectionLost`, `RequestRefused`, and ValueError for a message too large."""
        self._check()
        try:
            endpoint.number = self.connection.open(opening)
        except LocalProtocolError as error:
            full = (
                self.connection.peer_limits is not None
                and self.connection.open_channels >= self.connection.peer_limits.channels
            )
            if full:
                raise RequestRefused(ErrorCode.TOO_MANY_CHANNELS, str(error)) from None
            raise ValueError(f"the command cannot be sent: {error}") from None
        self._channels[endpoint.number] = endpoint
        self.flush_soon()

    def close_channel(self, endpoint: Endpoint) -> None:
        """Say the client's last on a channel, and forget it."""
        if self._channels.pop(endpoint.number, None) is not None and not self.connection.closed:
            self._wanting_room.pop(endpoint.number, None)
            self.connection.send(endpoint.number, m.Close())
            self.flush_soon()

    def tell(self, endpoint: Endpoint, message: m.Message) -> None:
        """Send a message on an open channel."""
        self.connection.send(endpoint.number, message)
        self.flush_soon()

    def take(self, endpoint: Endpoint, stream: m.Stream, count: int) -> None:
        """Give the credit of `count` bytes of `stream` back."""
        self.connection.acknowledge(endpoint.number, stream, count)
        self.flush_soon()

    def send_data(self, endpoint: Endpoint, stream: m.Stream, data: bytes) -> None:
        """Send 1 to `room_for` bytes."""
        self.connection.send_data(endpoint.number, stream, data)
        self.flush_soon()

    def room_for(self, endpoint: Endpoint, stream: m.Stream) -> int:
        """Return how many bytes may be sent now; where 0, `endpoint.pump` is called when there are more."""
        if self._link is None or endpoint.number not in self._channels:
            return 0
        if not self._link.room:
            self._wanting_room[endpoint.number] = endpoint
            return 0
        return self.connection.room(endpoint.number, stream)

    async def ping(self) -> float:
        """Return the seconds that a message takes there and back. Raises `ConnectionLost`."""
        self._check()
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[float] = loop.create_future()
        number = self.probe()
        self._pings[number] = answered
        try:
            sent = loop.time()
            return await answered - sent
        finally:
            del self._pings[number]

    def probe(self) -> int:
        """Make the service say something; return the number of the ping."""
        self._ping_id += 1
        self.send(m.Ping(id=self._ping_id))
        return self._ping_id

    def flush(self) -> None:
        """Send what is queued."""
        if self._link is not None:
            self._link.flush()

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn of the loop."""
        # Taking a chunk gives back credit only now and then; a turn of the loop for nothing is 3 µs for each.
        if self._link is not None and self.connection.queued:
            self._link.flush_soon()

    async def close(self) -> None:
        """Close the connection. Safe to call again."""
        self._over(ConnectionLost(f"the connection to {self.name} was closed here"))
        if self._link is not None:
            self._link.close()
            try:
                await asyncio.wait([self._closed], timeout=CLOSE_TIMEOUT)
            finally:
                self.abort()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._link is not None:
            self._link.abort()

    def _check(self) -> None:
        if self.why is not None:
            raise ConnectionLost(str(self.why))

    def _check_keepalive(self) -> None:
        match self._keepalive.check(asyncio.get_running_loop().time()):
            case KeepaliveAction.GIVE_UP:
                self._over(ConnectionLost(f"{self.name} has not answered for {self._keepalive.silence:g} seconds"))
                self.abort()
            case KeepaliveAction.PING:
                self.probe()
        self._schedule_keepalive()

    def _schedule_keepalive(self) -> None:
        if self._keepalive.deadline is not None:
            loop = asyncio.get_running_loop()
            self._keepalive_timer = loop.call_at(self._keepalive.deadline, self._check_keepalive)

    # Handler

    def connected(self, transport: ConnectionTransport) -> None:
        """Handler."""

    def received(self, event: Event) -> None:
        """Handler."""
        self.proved = True
        self._keepalive.received()
        match event:
            case DataReceived():
                endpoint = self._channels.get(event.channel)
                if endpoint is not None:
                    endpoint.received_data(event.stream, event.data)
            case MessageReceived(channel=0):
                self._received(event.message)
            case MessageReceived():
                endpoint = self._channels.get(event.channel)
                if endpoint is not None:
                    endpoint.received(event.message)
            case ConnectionFailed():
                self.broken = True
                self._over(ConnectionLost(f"{self.name} broke the protocol: {event.error.reason}"))
            case ChannelFailed():
                raise AssertionError("a client fails the whole connection")

    def writable(self) -> None:
        """Handler."""
        wanting, self._wanting_room = self._wanting_room, {}
        for endpoint in wanting.values():
            endpoint.pump()

    def lost(self, error: Exception | None) -> None:
        """Handler."""
        cause = f": {error}" if error is not None else " by the other side"
        self._over(ConnectionLost(f"the connection to {self.name} was ended{cause}"))
        self._link = None
        if not self._closed.done():
            self._closed.set_result(None)

    def _over(self, why: FarhandError) -> None:
        """Nothing will come any more; the first cause counts."""
        if self.why is not None:
            return
        self.why = why
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()
        self._login.put_nowait(why)
        for answered in self._pings.values():
            if not answered.done():
                answered.set_exception(ConnectionLost(str(why)))
        channels, self._channels = self._channels, {}
        for endpoint in channels.values():
            endpoint.lost(why)
        if self._over_callback is not None:
            self._over_callback(why)

    def _received(self, message: m.AnyMessage) -> None:
        match message:
            case m.Pong():
                answered = self._pings.get(message.id)
                if answered is not None and not answered.done():
                    answered.set_result(asyncio.get_running_loop().time())
            case m.GoingAway():
                self.going_away = True
                if self.on_going_away is not None:
                    self.on_going_away(message.grace)
            case m.Error():
                self._over(RequestRefused(message.code, f"{self.name} ended the connection: {message.message}"))
                if self._link is not None:
                    self._link.close()
            case _ if self.connection.phase is not Phase.CLOSED:
                self._login.put_nowait(message)
