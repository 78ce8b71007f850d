"""One connection to the service, from its first byte to its end.

`ClientSession` drives the sans-I/O `farhand_protocol.connection.Connection` and routes what arrives: a message or chunk
of a channel to that channel's `ChannelEndpoint`, a pong to the ping that waits for it, a login message to `login`. When
the connection ends, for whatever reason, every endpoint is notified of the cause once, and then `on_end`'s callback.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from farhand_client.errors import ConnectionLost, FarhandError, RequestRefused
from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.events import ChannelFailed, ConnectionFailed, DataReceived, Event, MessageReceived
from farhand_protocol.keepalive import Keepalive, KeepaliveAction
from farhand_protocol.limits import CLIENT_LIMITS
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import ConnectionTransport

from .forked import keep_from_children

CLOSE_TIMEOUT: Final = 2.0
"""Seconds for which a closing connection may still send what is queued; then it is cut."""


class ChannelEndpoint(Protocol):
    """The client's end of a channel. The session calls these methods; they must not block."""

    number: int
    """The channel's number, set when the channel is opened."""

    def received(self, message: m.AnyMessage) -> None:
        """Handle a message; the state tables of the protocol allow it on this channel."""

    def received_data(self, stream: m.Stream, data: bytes) -> None:
        """Handle bytes of `stream`."""

    def pump(self) -> None:
        """Send more data: there is room again."""

    def lost(self, why: FarhandError) -> None:
        """Note that the connection, and the channel with it, ended because of `why`."""


class SessionCarrier(Protocol):
    """The program that carries the bytes of a session."""

    @property
    def words(self) -> str:
        """The end of what it has written on stderr."""

    def end(self) -> None:
        """Begin to end it. Safe to call again."""

    async def ended(self) -> None:
        """Wait until it has ended."""


class ClientSession:
    """The client's side of one connection, and the `Handler` of its `ConnectionTransport`.

    `name` is the service's name in errors. `keepalive` is the interval in seconds after which a silent service is
    pinged; None disables that. `borrowed` means that the connection is lent by the helper, and is lost with it.
    """

    def __init__(self, name: str, keepalive: float | None, *, borrowed: bool = False) -> None:
        self.name: Final = name
        self.borrowed: Final = borrowed
        self.connection: Final = Connection(Side.CLIENT, CLIENT_LIMITS)
        self.going_away = False
        """Whether the service has announced its shutdown."""
        self.on_going_away: Callable[[float], None] | None = None
        """Called with the seconds that the service leaves its runs when it announces its shutdown."""
        self.received_since_login = False
        """Whether anything has arrived since the login was completed."""
        self.end_cause: FarhandError | None = None
        """Why the connection ended; None while it is up."""
        self.protocol_broken = False
        """Whether the connection ended because the service violated the protocol."""
        self.carrier: SessionCarrier | None = None
        """The program that carries the connection, and ends with it; None without one."""
        self._on_end: Callable[[FarhandError], None] | None = None
        self._keepalive = Keepalive(keepalive)
        self._transport: ConnectionTransport | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._login_messages: asyncio.Queue[m.AnyMessage | FarhandError] = asyncio.Queue()
        self._endpoints: dict[int, ChannelEndpoint] = {}
        self._waiting_for_room: dict[int, ChannelEndpoint] = {}
        self._pings: dict[int, asyncio.Future[float]] = {}
        self._ping_id = 0
        self._keepalive_timer: asyncio.TimerHandle | None = None

    def make_transport(self) -> ConnectionTransport:
        """Return the asyncio protocol for this session's one transport: a factory for `create_connection`."""
        self._transport = ConnectionTransport(self.connection, self)
        return self._transport

    # Login

    async def receive_login_message(self) -> m.AnyMessage:
        """Wait for the next message that the service sends before it accepts requests. Raises `ConnectionLost`."""
        message = await self._login_messages.get()
        if isinstance(message, FarhandError):
            raise message
        return message

    def send(self, message: m.Message) -> None:
        """Send a message on channel 0, which belongs to the connection itself."""
        self.connection.send(0, message)
        self.flush_soon()

    def login_done(self) -> None:
        """Note that the login is complete; keep-alive starts now."""
        self.received_since_login = False
        if self.end_cause is None:
            self._keepalive.start(asyncio.get_running_loop().time())
            self._schedule_keepalive()

    def on_end(self, callback: Callable[[FarhandError], None]) -> None:
        """Call `callback` once with the cause when the connection ends, after its endpoints were notified.

        If it has already ended, `callback` is called at once.
        """
        if self.end_cause is not None:
            callback(self.end_cause)
        else:
            self._on_end = callback

    # Channels and pings

    def open_channel(self, endpoint: ChannelEndpoint, opening: m.Message) -> None:
        """Open a channel with the message `opening` and set `endpoint.number`.

        Raises `ConnectionLost` after the end of the connection, `RequestRefused` with the code `too_many_channels` when
        the service allows no more channels, and ValueError for a message too large for it.
        """
        self._raise_if_ended()
        try:
            endpoint.number = self.connection.open(opening)
        except LocalProtocolError as error:
            peer_limits = self.connection.peer_limits
            full = peer_limits is not None and self.connection.open_channels >= peer_limits.channels
            if full:
                raise RequestRefused(ErrorCode.TOO_MANY_CHANNELS, str(error)) from None
            raise ValueError(f"the command cannot be sent: {error}") from None
        self._endpoints[endpoint.number] = endpoint
        self.flush_soon()

    def require_feature(self, feature: str, what: str) -> None:
        """Raise `RequestRefused` if the service has not announced `feature`, and so cannot do `what`."""
        if feature not in self.connection.peer_features:
            text = f"{self.name} cannot {what}: its farhandd is older than this client and has no such option"
            raise RequestRefused(ErrorCode.UNKNOWN_FIELD, text)

    def close_channel(self, endpoint: ChannelEndpoint) -> None:
        """Send the client's last message on a channel and forget the endpoint. Safe to call again."""
        if self._endpoints.pop(endpoint.number, None) is not None and not self.connection.closed:
            self._waiting_for_room.pop(endpoint.number, None)
            self.connection.send(endpoint.number, m.Close())
            self.flush_soon()

    def send_on(self, endpoint: ChannelEndpoint, message: m.Message) -> None:
        """Send a message on an open channel."""
        self.connection.send(endpoint.number, message)
        self.flush_soon()

    def consumed(self, endpoint: ChannelEndpoint, stream: m.Stream, count: int) -> None:
        """Return the credit for `count` bytes of `stream`, which the reader has consumed."""
        if self.connection.acknowledge(endpoint.number, stream, count):
            self.flush_soon()

    def send_data(self, endpoint: ChannelEndpoint, stream: m.Stream, data: bytes | memoryview) -> None:
        """Send 1 to `room_for` bytes of `stream`."""
        self.connection.send_data(endpoint.number, stream, data)
        if self._transport is not None:
            self._transport.flush_key(len(data))

    def room_for(self, endpoint: ChannelEndpoint, stream: m.Stream) -> int:
        """Return how many bytes of `stream` may be sent now. After 0, `endpoint.pump` is called when there is room."""
        if self._transport is None or endpoint.number not in self._endpoints:
            return 0
        if not self._transport.room:
            self._waiting_for_room[endpoint.number] = endpoint
            return 0
        return self.connection.room(endpoint.number, stream)

    async def ping(self) -> float:
        """Return the round-trip time in seconds. Raises `ConnectionLost`."""
        self._raise_if_ended()
        answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        number = self.send_ping()
        self._pings[number] = answered
        try:
            sent = time.monotonic()  # the clock of uvloop's loops counts milliseconds
            return await answered - sent
        finally:
            del self._pings[number]

    def send_ping(self) -> int:
        """Send a ping, which the service answers, and return its number."""
        self._ping_id += 1
        self.send(m.Ping(id=self._ping_id))
        return self._ping_id

    def flush(self) -> None:
        """Send what is queued."""
        if self._transport is not None:
            self._transport.flush()

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn of the event loop."""
        # Most consumed chunks return no credit yet; scheduling a flush that sends nothing costs 3 µs each.
        if self._transport is not None and self.connection.queued:
            self._transport.flush_soon()

    def hand_over(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport:
        """Let `protocol` continue with the transport of this session, which is logged in and idle, and end the session.

        Raises `ConnectionLost` if that is not possible.
        """
        self._raise_if_ended()
        transport = None if self._transport is None else self._transport.hand_over(protocol)
        self._end(ConnectionLost(f"the connection to {self.name} has another owner"))
        if transport is None:
            self.abort()
            raise ConnectionLost(f"the connection to {self.name} was not idle")
        self._transport = None
        return transport

    async def close(self) -> None:
        """Send what is queued, for at most `CLOSE_TIMEOUT`, and close the connection. Safe to call again."""
        self._end(ConnectionLost(f"the connection to {self.name} was closed by this client"))
        if self._transport is not None:
            self._transport.close()
            try:
                await asyncio.wait([self._closed], timeout=CLOSE_TIMEOUT)
            finally:
                self.abort()
        if self.carrier is not None:
            self.carrier.end()
            await self.carrier.ended()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _raise_if_ended(self) -> None:
        if self.end_cause is not None:
            raise ConnectionLost(str(self.end_cause))

    def _check_keepalive(self) -> None:
        match self._keepalive.check(asyncio.get_running_loop().time()):
            case KeepaliveAction.GIVE_UP:
                self.silent(self._keepalive.silence)
            case KeepaliveAction.PING:
                self.send_ping()
        self._schedule_keepalive()

    def _schedule_keepalive(self) -> None:
        if self._keepalive.deadline is not None:
            loop = asyncio.get_running_loop()
            self._keepalive_timer = loop.call_at(self._keepalive.deadline, self._check_keepalive)

    def silent(self, seconds: float) -> None:
        """Give up on the service, which has not answered for so long."""
        self._end(ConnectionLost(f"{self.name} has not answered for {seconds:g} seconds"))
        self.abort()

    # Implements Handler.

    def connected(self, transport: ConnectionTransport) -> None:
        """Keep forked children away from the connection; the caller of `make_transport` has the transport."""
        keep_from_children(transport)

    def received(self, event: Event) -> None:
        """Route an event of the connection to the endpoint, ping or login that it belongs to."""
        self.received_since_login = True
        self._keepalive.received()
        match event:
            case DataReceived():
                endpoint = self._endpoints.get(event.channel)
                if endpoint is not None:
                    endpoint.received_data(event.stream, event.data)
            case MessageReceived(channel=0):
                self._received(event.message)
            case MessageReceived():
                endpoint = self._endpoints.get(event.channel)
                if endpoint is not None:
                    endpoint.received(event.message)
            case ConnectionFailed():
                self.protocol_broken = True
                self._end(ConnectionLost(f"{self.name} violated the protocol: {event.error.reason}"))
            case ChannelFailed():
                raise AssertionError("a client fails the whole connection")

    def writable(self) -> None:
        """Let the endpoints that found no room send more."""
        waiting, self._waiting_for_room = self._waiting_for_room, {}
        for endpoint in waiting.values():
            endpoint.pump()

    def lost(self, error: Exception | None) -> None:
        """Note that the transport has ended, by `error` or because the peer closed it."""
        how = f"failed: {error}" if error is not None else "was closed by the peer"
        if self.carrier is not None and self.carrier.words:
            how += f": {self.carrier.words}"
        self._end(ConnectionLost(f"the connection to {self.name} {how}"))
        if self.carrier is not None:
            self.carrier.end()
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)

    def _end(self, why: FarhandError) -> None:
        """Notify everyone who waits for the connection that it has ended. Only the first cause counts."""
        if self.end_cause is not None:
            return
        self.end_cause = why
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()
        self._login_messages.put_nowait(why)
        for answered in self._pings.values():
            if not answered.done():
                answered.set_exception(ConnectionLost(str(why)))
        endpoints, self._endpoints = self._endpoints, {}
        for endpoint in endpoints.values():
            endpoint.lost(why)
        if self._on_end is not None:
            self._on_end(why)

    def _received(self, message: m.AnyMessage) -> None:
        match message:
            case m.Pong():
                answered = self._pings.get(message.id)
                if answered is not None and not answered.done():
                    answered.set_result(time.monotonic())
            case m.GoingAway():
                self.going_away = True
                if self.on_going_away is not None:
                    self.on_going_away(message.grace)
            case m.Error():
                self._end(RequestRefused(message.code, f"{self.name} closed the connection: {message.message}"))
                if self._transport is not None:
                    self._transport.close()
            case _ if self.connection.phase is not Phase.CLOSED:
                self._login_messages.put_nowait(message)
