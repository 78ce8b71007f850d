"""One connection as the client sees it: routes what comes to the runs and pings it belongs to."""

from __future__ import annotations

import asyncio
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode, LocalProtocolError
from farhand_protocol.events import ChannelFailed, ConnectionFailed, DataReceived, Event, MessageReceived
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import Link

from .channel import RunChannel
from .errors import ConnectionLost, FarhandError, RequestRefused

CLOSE_TIMEOUT: Final = 2.0
"""Seconds in which a closing connection may say its last: after them it is only cut."""

SILENCES: Final = 3
"""Intervals of silence after which the peer counts as gone: one lost ping proves nothing on a poor network."""


class Session:
    """The `Handler` of a client's `Link`. `name` says whom it talks to in errors."""

    def __init__(self, name: str, keepalive: float | None) -> None:
        self.name: Final = name
        self.connection: Final = Connection(Side.CLIENT)
        self.going_away = False
        self._keepalive = keepalive
        self._link: Link | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._why: FarhandError | None = None
        self._login: asyncio.Queue[m.AnyMessage | FarhandError] = asyncio.Queue()
        self._channels: dict[int, RunChannel] = {}
        self._wanting_room: dict[int, RunChannel] = {}
        self._pings: dict[int, asyncio.Future[float]] = {}
        self._ping_id = 0
        self._heard = True
        self._silences = 0
        self._timer: asyncio.TimerHandle | None = None

    def link(self) -> Link:
        """Return the asyncio protocol for this session's one transport."""
        self._link = Link(self.connection, self)
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
        if self._keepalive is not None and self._why is None:
            self._timer = asyncio.get_running_loop().call_later(self._keepalive, self._listen, self._keepalive)

    # Runs and pings

    def open(self, channel: RunChannel) -> None:
        """Ask for the run of `channel`. Raises `ConnectionLost`, `RequestRefused`, and ValueError for one too large."""
        self._check()
        try:
            channel.number = self.connection.open(channel.request)
        except LocalProtocolError as error:
            full = self.connection.peer is not None and self.connection.channels >= self.connection.peer.channels
            if full:
                raise RequestRefused(ErrorCode.TOO_MANY_CHANNELS, str(error)) from None
            raise ValueError(f"the command cannot be sent: {error}") from None
        self._channels[channel.number] = channel
        self.flush_soon()

    def close_channel(self, channel: RunChannel) -> None:
        """Say the client's last on a channel, and forget it."""
        if self._channels.pop(channel.number, None) is not None and not self.connection.closed:
            self._wanting_room.pop(channel.number, None)
            self.connection.send(channel.number, m.Close())
            self.flush_soon()

    def room_for(self, channel: RunChannel, stream: m.Stream) -> int:
        """Return how many bytes may be sent now; where 0, `channel.pump` is called when there are more."""
        if self._link is None or channel.number not in self._channels:
            return 0
        if not self._link.room:
            self._wanting_room[channel.number] = channel
            return 0
        return self.connection.room(channel.number, stream)

    async def ping(self) -> float:
        """Return the seconds that a message takes there and back. Raises `ConnectionLost`."""
        self._check()
        loop = asyncio.get_running_loop()
        self._ping_id += 1
        number = self._ping_id
        answered: asyncio.Future[float] = loop.create_future()
        self._pings[number] = answered
        try:
            sent = loop.time()
            self.send(m.Ping(id=number))
            return await answered - sent
        finally:
            del self._pings[number]

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn of the loop."""
        # Taking a chunk gives back credit only now and then; a turn of the loop for nothing is 3 µs for each.
        if self._link is not None and self.connection.queued:
            self._link.flush_soon()

    async def close(self) -> None:
        """Close the connection; what still runs is stopped by the service. Safe to call again."""
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
        if self._why is not None:
            raise ConnectionLost(str(self._why))

    def _listen(self, interval: float) -> None:
        if self._heard:
            self._heard, self._silences = False, 0
        else:
            self._silences += 1
            if self._silences >= SILENCES:
                self._over(ConnectionLost(f"{self.name} has not answered for {interval * SILENCES:g} seconds"))
                self.abort()
                return
            self._ping_id += 1
            self.send(m.Ping(id=self._ping_id))
        self._timer = asyncio.get_running_loop().call_later(interval, self._listen, interval)

    # Handler

    def connected(self, link: Link) -> None:
        """Handler."""

    def received(self, event: Event) -> None:
        """Handler."""
        self._heard = True
        match event:
            case DataReceived():
                channel = self._channels.get(event.channel)
                if channel is not None:
                    channel.received_data(event.stream, event.data)
            case MessageReceived(channel=0):
                self._received(event.message)
            case MessageReceived():
                channel = self._channels.get(event.channel)
                if channel is not None:
                    channel.received(event.message)
            case ConnectionFailed():
                self._over(ConnectionLost(f"{self.name} broke the protocol: {event.error.sentence}"))
            case ChannelFailed():
                raise AssertionError("a client fails the whole connection")

    def writable(self) -> None:
        """Handler."""
        waiting, self._wanting_room = self._wanting_room, {}
        for channel in waiting.values():
            channel.pump()

    def lost(self, error: Exception | None) -> None:
        """Handler."""
        cause = f": {error}" if error is not None else " by the other side"
        self._over(ConnectionLost(f"the connection to {self.name} was ended{cause}"))
        self._link = None
        if not self._closed.done():
            self._closed.set_result(None)

    def _over(self, why: FarhandError) -> None:
        """Nothing will come any more; the first cause counts."""
        if self._why is not None:
            return
        self._why = why
        if self._timer is not None:
            self._timer.cancel()
        self._login.put_nowait(why)
        for answered in self._pings.values():
            if not answered.done():
                answered.set_exception(ConnectionLost(str(why)))
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.fail(_unknown_end(why, channel.request.id))

    def _received(self, message: m.AnyMessage) -> None:
        match message:
            case m.Pong():
                answered = self._pings.get(message.id)
                if answered is not None and not answered.done():
                    answered.set_result(asyncio.get_running_loop().time())
            case m.GoingAway():
                self.going_away = True
            case m.Error():
                self._over(RequestRefused(message.code, f"{self.name} ended the connection: {message.message}"))
                if self._link is not None:
                    self._link.close()
            case _ if self.connection.phase is not Phase.CLOSED:
                self._login.put_nowait(message)


def _unknown_end(why: FarhandError, run_id: str) -> ConnectionLost:
    return ConnectionLost(
        f"{why}; run {run_id} was under way and its end is not known: the command may have run, to whatever point, "
        "so repeat it only if that does no harm",
        run_id=run_id,
    )
