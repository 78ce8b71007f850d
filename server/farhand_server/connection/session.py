"""One client's connection, from its first byte to its last: its open channels, and when and how it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.events import ChannelFailed, ConnectionFailed, DataReceived, Event, MessageReceived
from farhand_protocol.keepalive import Keepalive, KeepaliveAction
from farhand_protocol.states import Phase, Side
from farhand_protocol.transport import ConnectionTransport

from ..admission.admission import Admission
from ..admission.caller import Caller
from ..auth.accounts import Principal
from ..logs import Logger, LogValue
from ..sources import source_of
from .channels.handler import ChannelHandler, ReceivingChannel
from .context import SessionContext
from .dispatch import dispatch
from .login import LoginExchange
from .time_shares import TimeShare
from .turns import SendTurns

CLIENT_KEEPALIVE_INTERVAL: Final = 15.0
"""Seconds of silence after which a client is pinged. After three such intervals its connection counts as lost, so that
no run waits indefinitely for a client that has vanished without notice."""

LAST_PING_ID: Final = 0
"""Id of the ping that `finish` sends. The ids of keep-alive pings begin at 1."""


class ServerSession:
    """The handler of one `ConnectionTransport`: passes received events on to the dispatch and the channel handlers.

    A `local` client needs no login; a client of an edge must log in. For an edge's client, `address` is the address to
    judge by, `peer` is the address as it is logged, `arrival` the one that the client has connected to, and `report`
    tells the edge whether the login succeeded.
    """

    def __init__(
        self,
        context: SessionContext,
        log: Logger,
        *,
        local: Caller | None = None,
        address: IPv4Address | IPv6Address | None = None,
        peer: str | None = None,
        arrival: str | None = None,
        report: Callable[[bool], None] | None = None,
        web: bool = False,
    ) -> None:
        self.context: Final = context
        self.log = log
        self.connection: Final = Connection(Side.SERVER)
        self.login: Final = LoginExchange(
            self, local=local, address=address, peer=peer, arrival=arrival, report=report, web=web
        )
        self.channels: Final[dict[int, ChannelHandler]] = {}
        self._gone: asyncio.Event | None = None
        self._lost = False
        self._local = local
        self._counted: int | None = None
        """The account in whose share the connection counts."""
        source = None if address is None else source_of(address)
        self._stranger = f"source {source}" if local is None else f"uid {local.principal.uid}"
        """Whose share of the loop's time and of the log is used before login."""
        self._admission: Admission | None = None
        self._transport: ConnectionTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._turns = SendTurns(lambda error: self.fail("output", error))
        self._finishing = False
        self._last_ping_sent = False
        self._unacknowledged: dict[int, ChannelHandler] = {}
        """Handlers that have sent their final message, until the client closes the channel."""
        self._holding: dict[ReceivingChannel, None] = {}
        """Channels for whose stdin there is no memory left."""
        self._keepalive = Keepalive(CLIENT_KEEPALIVE_INTERVAL)
        self._keepalive_timer: asyncio.TimerHandle | None = None

    @property
    def acts_for(self) -> Mapping[str, LogValue]:
        """Who the log says holds the loop, while the session is handling something (`loopwatch`)."""
        return self.log.fields

    @property
    def gone(self) -> asyncio.Event:
        """Set once the connection is closed."""
        if self._gone is None:
            self._gone = asyncio.Event()
            if self._lost:
                self._gone.set()
        return self._gone

    @property
    def admission(self) -> Admission:
        """Judges the client's requests. Exists only after login."""
        assert self._admission is not None
        return self._admission

    def logged_in(self, caller: Caller) -> None:
        """Serve this caller from now on."""
        self._admission = Admission(caller, self.context)
        self._count_connection(caller.principal)
        user = caller.principal.user
        self.log = self.log.bind(user=user).limited(self.context.sessions.lines.of(f"user {user}"))
        self._share_time(self.context.sessions.time_of(caller.principal.uid))
        self._keepalive.start(self._loop.time())
        self._schedule_keepalive()

    def _count_connection(self, principal: Principal) -> None:
        if self._counted is None:
            self._counted = principal.uid
            self.context.shares.connections.add(principal.uid)

    # Closing

    def announce_shutdown(self, grace: float) -> None:
        """Tell the client that the service will stop in `grace` seconds."""
        if self.connection.phase is Phase.READY:
            self.connection.send(0, m.GoingAway(grace=grace))
            self.flush_soon()

    def finish(self) -> None:
        """Close once every channel has sent its output and final message, and the client has received them.

        If a client sends credit or `close` to a closed socket, it loses what it has not read yet. Its answer to a last
        ping shows that it has read everything sent before.
        """
        self._finishing = True
        self._send_last_ping()

    def abort(self) -> None:
        """Close without sending what is queued."""
        if self._transport is not None:
            self._transport.abort()

    def end(self, code: ErrorCode, sentence: str) -> None:
        """Send an error and close the connection."""
        self.connection.fail(code, sentence)
        self._leave_runs()
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _send_last_ping(self) -> None:
        if self._transport is None or self.channels or self._last_ping_sent:
            return
        if self.connection.phase is not Phase.READY:
            self._close()
            return
        self._transport.flush()
        if self._transport.room:  # nothing queued could be overtaken by a ping; otherwise `writable` calls this again
            self._last_ping_sent = True
            self.connection.send(0, m.Ping(id=LAST_PING_ID))
            self._transport.flush()

    def _check_keepalive(self) -> None:
        for channel in tuple(self._holding):
            if not channel.overfull:  # others have released memory
                self.release(channel)
        if self._holding:
            # The client is silent because it is not read from. Whether it is still there, a ping shows nevertheless.
            self._keepalive.received()
            if self.connection.phase is Phase.READY:
                self.connection.send(0, m.Ping(id=1))
                self.flush_soon()
        match self._keepalive.check(self._loop.time()):
            case KeepaliveAction.GIVE_UP:
                self.log.warning("client does not respond", seconds=self._keepalive.silence)
                self.abort()
            case KeepaliveAction.PING if self.connection.phase is Phase.READY:
                self.connection.send(0, m.Ping(id=self._keepalive.silent_intervals))
                self.flush_soon()
        self._schedule_keepalive()

    def _schedule_keepalive(self) -> None:
        if self._keepalive.deadline is not None:
            self._keepalive_timer = self._loop.call_at(self._keepalive.deadline, self._check_keepalive)

    # ChannelOutlet

    def flush_soon(self) -> None:
        """At the end of this turn of the loop, send what is queued."""
        # This is called for each key, but credit is only queued now and then: a needless turn of the loop costs 8 µs.
        if self._transport is not None and self.connection.queued:
            self._transport.flush_soon()

    def schedule(self, channel: ChannelHandler, *, awaited: bool = False) -> None:
        """Arrange for the channel to get its turn to send."""
        self._turns.add(channel, awaited=awaited)

    def hold(self, channel: ReceivingChannel) -> None:
        """Receive nothing more until this channel's program has read some of its stdin."""
        self._holding[channel] = None
        if self._transport is not None:
            self._transport.hold()

    def release(self, channel: ReceivingChannel) -> None:
        """Receive again if no other channel holds the connection."""
        self._holding.pop(channel, None)
        if not self._holding and self._transport is not None:
            self._transport.release()

    def forget(self, channel: ChannelHandler) -> None:
        """Remove a channel that has sent its final message."""
        if self.channels.pop(channel.number, None) is not None:
            self._unacknowledged[channel.number] = channel
        if self._finishing:
            self._loop.call_soon(self._send_last_ping)

    def acknowledge_close(self, number: int) -> None:
        """Handle that the client has closed a channel. Notify the handler if it has sent its final message."""
        channel = self._unacknowledged.pop(number, None)
        if channel is not None:
            channel.closed()

    def lose_channel(self, number: int) -> None:
        """Handle that the client behind a channel is lost: as all channels are when the connection is lost."""
        channel = self._unacknowledged.pop(number, None)
        if channel is None and (channel := self.channels.pop(number, None)) is not None:
            self.connection.send(number, m.Done())
            self.flush_soon()
        if channel is not None:
            channel.lost()
        if self._finishing:
            self._loop.call_soon(self._send_last_ping)

    # Handler of the transport

    def connected(self, transport: ConnectionTransport) -> None:
        self._transport = self._turns.transport = transport
        self._share_time(self.context.sessions.time.of(self._stranger))
        self.log = self.log.limited(self.context.sessions.lines.of(self._stranger))
        self.context.sessions.add(self)
        if self._local is not None:
            self._count_connection(self._local.principal)
        self.login.start()

    def _share_time(self, share: TimeShare) -> None:
        if self._transport is not None:
            self._transport.loop_time = self._turns.loop_time = share

    def received(self, event: Event) -> None:
        self._keepalive.received()
        if isinstance(event, DataReceived):
            channel = self.channels.get(event.channel)
            if channel is not None:
                channel.received_data(event.data)
        elif isinstance(event, ChannelFailed):
            self.log.warning("message refused", code=event.error.code, reason=event.error.reason)
            channel = self.channels.pop(event.channel, None)
            if channel is not None:
                channel.lost()
        elif isinstance(event, ConnectionFailed):
            self.log.warning("client violated the protocol", code=event.error.code, reason=event.error.reason)
        elif self._last_ping_sent and isinstance(event.message, m.Pong) and event.message.id == LAST_PING_ID:
            self._close()
        else:
            self._dispatch(event)
        if self.connection.closed:
            self._leave_runs()
            self._close()

    def _dispatch(self, event: MessageReceived) -> None:
        try:
            dispatch(self, event.channel, event.message)
        except Exception as error:  # noqa: BLE001  # a bug ends this connection with an error; other connections continue
            self.fail(event.message.type, error)

    def fail(self, what: str, error: Exception) -> None:
        """Log an error in the service, and close the connection with an error."""
        self.log.error("message failed because of an internal error", message=what, error=error)
        self.end(ErrorCode.INTERNAL, "the service failed to act on a message; its log says why")

    def writable(self) -> None:
        self._turns.send()
        if self._finishing:
            self._send_last_ping()

    def lost(self, error: Exception | None) -> None:
        self._transport = self._turns.transport = None
        if self._keepalive_timer is not None:
            self._keepalive_timer.cancel()
        self.context.sessions.discard(self)
        self._lost = True
        if self._gone is not None:
            self._gone.set()
        self.login.stop()
        if self._counted is not None:
            self.context.shares.connections.remove(self._counted)
            self._counted = None
        self._leave_runs()

    def _leave_runs(self) -> None:
        for channel in (*self.channels.values(), *self._unacknowledged.values()):
            channel.lost()
        self.channels.clear()
        self._holding.clear()
        self._unacknowledged.clear()
        self._turns.clear()
