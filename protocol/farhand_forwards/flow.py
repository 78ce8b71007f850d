"""One connection inside a tunnel."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from .accepting import Connected
from .datagrams import DatagramEnd, DatagramPeer
from .ends import FlowEnd
from .flow_transport import FlowTransport
from .mux import Mux
from .relay import SocketEnd, reset_socket
from .targets import ForwardCause, ForwardRefused, ForwardTarget, InetTarget
from .unread import UnreadBytes, store_unread
from .wire import FORWARD_HEADER, MAX_FORWARD_DATA

STREAM_LIMIT: Final = 64 * 1024
"""Bytes for `asyncio.StreamReader`: asyncio's own default. It stores twice as many, beside the flow's window."""

MAX_TURN_DATA: Final = MAX_FORWARD_DATA - FORWARD_HEADER.size
"""Bytes that a flow sends in its turn: with their header they fill whole data frames of the connection, and reads of a
pipe. Nine bytes more would be one more of each, on the whole way."""

FlowCause: TypeAlias = ForwardCause | Literal["ended", "reset", "cut"]
"""How a flow has ended: why it was refused; in order; reset by either end; or with its tunnel."""


class FlowReport(NamedTuple):
    """What became of a flow, for the audit log and for lists. `listener` says whether it began at a listener, and
    `ours` whether this side has opened it. `dropped` counts datagrams that this side did not send."""

    target: ForwardTarget
    address: ForwardTarget | None
    origin: str
    sent: int
    received: int
    seconds: float
    cause: FlowCause
    message: str = ""
    listener: bool = False
    ours: bool = True
    dropped: int = 0


class TunnelClosed(ConnectionError):
    """The tunnel has ended: its run is over, or it was closed."""


class ForwardReset(ConnectionResetError):
    """The connection was reset, by either end."""


class FlowOwner(Protocol):
    """The tunnel, as a flow sees it."""

    @property
    def mux(self) -> Mux:
        """What says what may be sent."""

    def wake(self) -> None:
        """Send what the mux has to send."""

    def turn_wanted(self) -> None:
        """Send what the mux has to send, and let flows have their turns."""

    def forget(self, flow: Flow) -> None:
        """A flow is over."""


class Flow:
    """A connection, at one side of a tunnel. It is joined to exactly one end: `relay`, `streams`, `transport` or
    `datagrams`. What arrives before that waits, within the flow's window."""

    def __init__(
        self,
        owner: FlowOwner,
        number: int,
        target: ForwardTarget,
        origin: str,
        *,
        ours: bool,
        listener: bool,
        datagrams: bool,
    ) -> None:
        self.target: Final = target
        """Where it leads, as requested; of a listener's flow, where the listener is."""
        self.origin: Final = origin
        """Where it came from, for people."""
        self.address: ForwardTarget | None = None
        """What was really connected to, once `opened` has returned."""
        self.is_datagrams: Final = datagrams
        self.is_ours: Final = ours
        self.from_listener: Final = listener
        self.sent = self.received = self.dropped = 0
        """Bytes each way, and datagrams that were not sent."""
        self.cause: FlowCause | None = None
        """How it has ended; None while it has not."""
        self.message = ""
        self._owner = owner
        self._mux = owner.mux
        self.number: Final = number
        self._loop = asyncio.get_running_loop()
        self.began: Final = self._loop.time()
        self._end: FlowEnd | None = None
        self._early: UnreadBytes = deque()
        self._eof_sent = self._eof_received = False
        self._unconsumed = 0
        self._error: Exception | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        if not ours:
            self._opened.set_result(None)
        self._accepted = ours

    @property
    def joined(self) -> bool:
        """Whether the flow has an end."""
        return self._end is not None

    # What its users call

    async def opened(self) -> None:
        """Wait until the other side has connected. Raises `ForwardRefused`, `TunnelClosed`."""
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            self.reset()
            raise

    async def relay(self, connected: Connected) -> None:
        """Join the flow to a connected socket, until both directions have ended; the socket is closed then.

        Raises `ForwardRefused` if the other side does not connect, `ForwardReset` if either end has reset the
        connection, `TunnelClosed`; the socket was reset in these cases.
        """
        try:
            if (isinstance(connected, DatagramPeer) or connected.type == socket.SOCK_DGRAM) is not self.is_datagrams:
                raise ValueError("a flow of datagrams needs a socket of datagrams, and only that")
            if self.is_datagrams:
                await self.opened()  # what arrives meanwhile waits in the socket or the peer
            self._check()
            end = connected if isinstance(connected, DatagramPeer) else self._end_of(connected)
        except BaseException:
            if isinstance(connected, DatagramPeer):
                connected.close()
            else:
                reset_socket(connected)
            self.reset()
            raise
        try:
            if isinstance(end, SocketEnd):
                self.attach(end)
                end.start(self)
            else:
                self.accept()
                end.start(self)  # first: it returns the credit of what has arrived already
                self.attach(end)
            await self._settled(end.done)
        finally:
            end.close()
            self.reset()
        if not self.is_datagrams:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _end_of(self, connected: socket.socket) -> SocketEnd | DatagramEnd:
        return DatagramEnd(connected) if self.is_datagrams else SocketEnd(self, connected)

    def transport(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Return the flow as a transport for any protocol of asyncio."""
        peer = self.address or self.target
        extra = {"peername": (peer.host, peer.port) if isinstance(peer, InetTarget) else str(peer), "flow": self}
        made = FlowTransport(self, protocol, extra)
        self.attach(made)
        return made

    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the flow as asyncio's streams, as `asyncio.open_connection` does."""
        reader = asyncio.StreamReader(limit=STREAM_LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = self.transport(protocol)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    async def datagrams(self, received: Callable[[bytes], None]) -> None:
        """Call `received` with each datagram until the flow is over; `send_datagram` sends. Raises as `relay` does,
        but not if either end has ended the flow, which is the only way for it to end."""
        await self.relay(DatagramPeer(received))

    def accept(self, address: ForwardTarget | None = None) -> None:
        """Accept a flow that the other side has opened; joining it to an end does so, too."""
        if not self._accepted and self._error is None:
            self._accepted = True
            self.address = address
            self._mux.accept(self.number, address)
            self._owner.wake()

    def refuse(self, cause: ForwardCause, message: str) -> None:
        """Refuse a flow that the other side has opened; if it was accepted before, reset it."""
        if self._accepted:
            self.reset()
        elif self._error is None:
            self._mux.refuse(self.number, cause, message)
            self._finish(cause, ForwardRefused(cause, message))

    # What its end calls

    def attach(self, end: FlowEnd) -> None:
        """Join the flow to an end, which gets what has arrived meanwhile. Raises ValueError if it has one."""
        if self._end is not None:
            raise ValueError("this connection is in use already")
        self._end = end
        self.accept()
        while self._early:
            self._deliver(end, memoryview(self._early.popleft()))
        if self._error is not None:
            end.lost(self._error)
        elif self._eof_received:
            end.eof_received()

    def want_turn(self) -> None:
        self._mux.want_turn(self.number)
        self._owner.turn_wanted()

    def send(self, data: bytes | memoryview) -> None:
        if self._error is None:
            self.sent += len(data)
            self._mux.send(self.number, data)

    def send_datagram(self, data: bytes) -> bool:
        if self._error is not None or not self._mux.send_datagram(self.number, data):
            self.dropped += 1
            return False
        self.sent += len(data)
        self._owner.wake()
        return True

    def send_eof(self) -> None:
        if self._error is None and not self._eof_sent:
            self._eof_sent = True
            self._mux.eof(self.number)
            self._owner.wake()
            self._finish_if_ended()

    def consumed(self, count: int) -> None:
        if self._error is None:
            self._unconsumed -= count
            self._mux.consumed(self.number, count)
            if self._mux.has_data_to_send:
                self._owner.wake()
            self._finish_if_ended()

    def reset(self) -> None:
        """Give up the flow: the other side's connection is reset. Does nothing if it is over."""
        if self._error is None and self.cause is None:
            self._mux.reset(self.number)
            self._finish("reset", ForwardReset("the connection was reset"))

    # What the tunnel calls

    def was_accepted(self, address: ForwardTarget | None) -> None:
        """The other side has connected."""
        self.address = address
        if not self._opened.done():
            self._opened.set_result(None)

    def was_refused(self, error: ForwardRefused) -> None:
        """The other side does not connect."""
        self._finish(error.cause, error)

    def take_turn(self, limit: int) -> None:
        """Let the end send now."""
        if self._end is not None:
            self._end.turn(min(limit, MAX_TURN_DATA))

    def data_received(self, data: bytes | memoryview) -> None:
        """Bytes, or a datagram, have arrived."""
        self.received += len(data)
        self._unconsumed += len(data)
        if self._end is None:
            if self.is_datagrams:
                self._early.append(bytes(data))
            else:
                store_unread(self._early, data)
        else:
            self._deliver(self._end, data)

    def eof_received(self) -> None:
        """Nothing more will arrive."""
        self._eof_received = True
        if self._end is not None:
            self._end.eof_received()
        self._finish_if_ended()

    def was_reset(self) -> None:
        """The other side has given it up."""
        self._finish("reset", ForwardReset("the connection was reset by the other end"))

    def was_cut(self, error: TunnelClosed) -> None:
        """The tunnel has ended."""
        self._finish("cut", error)

    def report(self) -> FlowReport:
        """Return what has become of it so far."""
        return FlowReport(
            *(self.target, self.address, self.origin, self.sent, self.received),
            *(self._loop.time() - self.began, self.cause or "ended", self.message),
            *(self.from_listener, self.is_ours, self.dropped),
        )

    async def _settled(self, future: asyncio.Future[None]) -> None:
        """Wait until a future is done, whatever its result, and leave it alone if this call is cancelled: as
        `asyncio.wait` does for several, at a third of the cost."""
        if future.done():
            return
        waiter: asyncio.Future[None] = self._loop.create_future()

        def wake(future: asyncio.Future[None]) -> None:
            if not waiter.done():
                waiter.set_result(None)

        future.add_done_callback(wake)
        try:
            await waiter
        finally:
            future.remove_done_callback(wake)

    def _deliver(self, end: FlowEnd, data: bytes | memoryview) -> None:
        try:
            end.received(data)
        except Exception as error:  # noqa: BLE001  # a protocol of somebody else has failed; others go on
            self._loop.call_exception_handler({"message": "a connection's protocol has failed", "exception": error})
            self.reset()

    def _finish_if_ended(self) -> None:
        if self._eof_sent and self._eof_received and not self._unconsumed and self.cause is None:
            self.cause = "ended"
            self._owner.forget(self)

    def _finish(self, cause: FlowCause, error: Exception) -> None:
        if self.cause is not None:
            return
        if cause == "reset" and self.is_datagrams:
            cause = "ended"  # there is no other way for it
        self.cause, self._error = cause, error
        self.message = "" if cause in ("ended", "reset", "cut") else str(error)
        self._early.clear()
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # it is reported where somebody waits for it
        self._owner.forget(self)
        self._owner.wake()
        if self._end is not None:
            self._end.lost(error)
