"""Runs one `Connection` over one asyncio transport: the only module of the protocol that knows asyncio.

    asyncio  --buffer_updated-->  ConnectionTransport  --events-->  Handler
    asyncio  <--write-----------  ConnectionTransport  <--flush---  Handler (after Connection.send, send_data, …)

A read may hold tens of thousands of frames. `LoopTime` says for how long they may be acted on before others get their
turn; what is left waits for the next one, and meanwhile nothing more is read. Reading also stops while a peer does not
read its answers (`Connection.flooded`). Once `WRITE_HIGH` bytes are waiting, `room` is false and the handler must stop
queueing data until `Handler.writable` is called. Messages overtake data in the connection's queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol, cast

from .buffers import RECEIVE_SIZE, shared_buffer
from .connection import Connection
from .events import Event, LargeMessage
from .frames import COPIED_DATA
from .limits import KiB
from .loop_time import LoopTime, OwnTime
from .vectors import write_at_once

CROWDED_RECEIVE_SIZE: Final = 4 * KiB
"""The same while there is no time to act on them: they are kept until there is, and there may be thousands of
connections whose turn has not come."""

KEYS_SIZE: Final = 4 * KiB
"""Bytes of a read up to which it may be nothing but a few keys that were typed."""

WRITE_HIGH: Final = 256 * KiB
"""Bytes in the transport above which data is held back: a control frame then waits 2.5 ms at 100 MB/s."""

WRITE_LOW: Final = 64 * KiB
"""Bytes left in the transport when sending resumes: one frame, so that the socket does not run dry."""

QUIET_PERIOD: Final = 0.0001
"""Seconds: longer than a loop iteration that sends a lot, shorter than a keystroke's round trip."""

TRANSPORT_CLOSE_TIMEOUT: Final = 5.0
"""Seconds a peer has to read the remaining data when a connection closes: it may have stopped reading permanently."""


class Handler(Protocol):
    """The owner of a connection. The loop calls its methods; they must not block."""

    def connected(self, transport: ConnectionTransport) -> None:
        """The transport is connected; nothing has been sent or received yet."""

    def received(self, event: Event) -> None:
        """An event arrived. Anything queued in response is sent after the last event of this read.

        If the connection has closed itself, the transport closes after this call; it then delivers no more events.
        """

    def writable(self) -> None:
        """`ConnectionTransport.room` is true again after it was false."""

    def lost(self, error: Exception | None) -> None:
        """The transport is gone, because of `error` or an end of file. Called once, and last."""


class ConnectionTransport(asyncio.BufferedProtocol):
    """The asyncio protocol of one connection, and its only writer.

    After queueing anything on `connection`, call `flush` or `flush_soon`. The owner may replace `loop_time` at any
    time.
    """

    def __init__(self, connection: Connection, handler: Handler, loop_time: LoopTime | None = None) -> None:
        self.connection: Final = connection
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self.loop_time: LoopTime = OwnTime(self._loop.call_soon) if loop_time is None else loop_time
        self._buffer = shared_buffer(self._loop)
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1
        self._paused = False
        self._starved = False
        self._events: Iterator[Event | LargeMessage | None] | None = None
        """What was received and not acted on yet."""
        self._reading_paused = False
        self._has_time = False
        """Whether there was time to act, when the loop was about to read."""
        self._held = False
        self._reserved = 0
        """Bytes reserved, or waited for, for the large message that is arriving."""
        self._reserving = False
        """Whether that is waited for."""
        self._flooded = False
        """Whether what was received waits until the peer has read its answers."""
        self._flush_due = False
        self._flushed = -QUIET_PERIOD
        self._closing = False
        self._last_call: asyncio.TimerHandle | None = None

    @property
    def room(self) -> bool:
        """Whether data should be queued now. If not, `Handler.writable` is called as soon as it should."""
        if self._closing:
            return False
        if self._paused or self._transport is None or self.connection.queued >= WRITE_HIGH:
            self._starved = True
            return False
        return True

    @property
    def quiet(self) -> bool:
        """Whether nothing is queued and nothing was sent for `QUIET_PERIOD`: new data can be sent at once."""
        return not self._flush_due and time.monotonic() - self._flushed >= QUIET_PERIOD

    def fileno(self) -> int:
        """Return the descriptor of the transport's socket; -1 if there is none (any more)."""
        found = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if found is None else int(found.fileno())

    def flush(self) -> None:
        """Pass everything queued to the transport. If the transport is full, do so once it is writable again."""
        if self._paused or self._closing or self._transport is None:
            return
        buffers = self.connection.data_to_send()
        if buffers:
            self._flushed = time.monotonic()
            self._write(self._transport, buffers)
            if self._starved and not self._paused:
                self._starved = False
                self._loop.call_soon(self._writable)

    def flush_soon(self) -> None:
        """Flush at the end of this loop iteration, so that everything queued in it is sent at once."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_now)

    def flush_key(self, size: int) -> None:
        """After queueing `size` bytes of data: flush at once if these may be a key whose echo somebody is waiting for,
        because they are few and nothing else was sent lately. Otherwise flush at the end of this loop iteration."""
        if size <= COPIED_DATA and self.quiet:
            self.flush()
        else:
            self.flush_soon()

    def close(self) -> None:
        """Send what is queued, giving the peer `TRANSPORT_CLOSE_TIMEOUT` to read it, then close."""
        if self._transport is None or self._closing:
            return
        self._paused = False
        self.flush()
        self._closing = True
        self._last_call = self._loop.call_later(TRANSPORT_CLOSE_TIMEOUT, self.abort)
        if self._transport.can_write_eof():
            # Closing a socket that has unread bytes sends a reset, and the peer may lose the last data. So the peer
            # must close.
            self._transport.write_eof()
            self._resume_reading()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; unsent data is lost."""
        if self._transport is not None:
            self._closing = True
            self._transport.abort()

    def hand_over(self, protocol: asyncio.BufferedProtocol) -> asyncio.Transport | None:
        """Let `protocol` continue with the transport, and do nothing more here. Return the transport; None if it is
        gone, or if something is under way that `protocol` would miss."""
        transport = self._transport
        if transport is None or self._closing or self._events is not None or self.connection.incomplete:
            return None
        self.flush()
        self._transport = None
        self._closing = True
        transport.set_protocol(protocol)
        return transport

    def hold(self) -> None:
        """Act on nothing more that is received, until `release`."""
        self._held = True

    def release(self) -> None:
        """Act on what is received again."""
        if self._held:
            self._held = False
            if self._events is not None:
                self.loop_time.wait(self._go_on)
            elif not self._flooded and not self._reserving:
                self._resume_reading()

    def _write(self, transport: asyncio.Transport, buffers: list[bytes | memoryview]) -> None:
        if len(buffers) == 1:
            transport.write(buffers[0])
            return
        rest: Sequence[bytes | memoryview] = buffers
        if self._descriptor >= 0 and not transport.get_write_buffer_size():
            rest = write_at_once(self._descriptor, buffers)
        if rest:
            transport.write(rest[0] if len(rest) == 1 else b"".join(rest))

    def _flush_now(self) -> None:
        self._flush_due = False
        self.flush()

    def _writable(self) -> None:
        if self._transport is not None and not self._closing:
            self._handler.writable()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handler."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        if isinstance(self._loop, asyncio.SelectorEventLoop) and transport.get_extra_info("sslcontext") is None:
            self._descriptor = transport.get_extra_info("socket").fileno()
        self._handler.connected(self)
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the shared buffer, or a part of it. The loop fills it and calls `buffer_updated` before it serves any
        other connection."""
        self._has_time = self.loop_time.left() > 0
        return self._buffer if self._has_time else self._buffer[:CROWDED_RECEIVE_SIZE]

    def buffer_updated(self, nbytes: int) -> None:
        """Act on the bytes that the loop has read."""
        if self._closing:
            return
        data = self._buffer[:nbytes]
        if nbytes > KEYS_SIZE or not self._has_time or self._held or self._flooded or self._events is not None:
            self.feed(data)
            return
        event = self.connection.whole_data(data)
        if event is None:
            self.feed(data)
        else:
            self._act_on(event)

    def _act_on(self, event: Event) -> None:
        """Act on the only event of a read."""
        began = time.monotonic()
        try:
            self._handler.received(event)
            if self._closing:
                return
            if self.connection.closed:
                self.close()
            elif self._held:
                self._pause(None)
            else:
                self._acted()
        finally:
            self.loop_time.spend(time.monotonic() - began)

    def feed(self, data: bytes | memoryview) -> None:
        """Act on received bytes. Call this only for bytes that were read before this object became the transport's
        protocol."""
        self._events = self.connection.receive(data)
        self._act()

    def _act(self) -> None:
        """Act on what was received for as long as there is time, then let others have their turn."""
        if self._events is None or self._closing:
            return
        if self._held or self._flooded:
            self._pause(None)  # `release` or `resume_writing` goes on
            return
        left = self.loop_time.left()
        if left <= 0:
            self._pause(self.loop_time.wait)
            return
        began = time.monotonic()
        try:
            self._act_until(self._events, began + left)
        finally:
            self.loop_time.spend(time.monotonic() - began)

    def _act_until(self, events: Iterator[Event | LargeMessage | None], until: float) -> None:
        for event in events:
            if isinstance(event, LargeMessage):
                self._pause(partial(self.loop_time.decode, event.decode))
                return
            if event is not None:
                self._handler.received(event)
            if self._closing:
                return
            if self._held:
                self._pause(None)
                return
            if self.connection.flooded:
                break
            if time.monotonic() >= until:
                self._pause(self.loop_time.wait)
                return
        else:
            self._events = None
            if self.connection.closed:
                self.close()
                return
            self._reserve()
        self._acted()

    def _acted(self) -> None:
        """Send the answers, and read on if the peer reads them."""
        if not self.connection.flooded:
            if self.connection.queued:
                self.flush_soon()  # together with whatever the tasks woken by these events queue
            if self._reserving:
                self._pause(None)
            else:
                self._resume_reading()
            return
        self.flush()
        self._flooded = self.connection.queued > 0  # the transport is full
        if self._flooded:
            self._pause(None)
        elif self._events is not None:
            self._pause(self.loop_time.wait)

    def _reserve(self) -> None:
        needed = self.connection.incomplete
        if needed <= RECEIVE_SIZE:
            needed = 0
        if needed != self._reserved:
            self._give_back()
            self._reserved = needed
            self._reserving = bool(needed) and not self.loop_time.reserve(needed, self._granted)

    def _give_back(self) -> None:
        if self._reserved and not self._reserving:
            reserved, self._reserved = self._reserved, 0
            self.loop_time.give_back(reserved)

    def _granted(self) -> None:
        self._reserving = False
        if self._transport is None:
            self._give_back()
        elif self._events is None and not self._held and not self._flooded:
            self._resume_reading()

    def _pause(self, wait: Callable[[Callable[[], None]], None] | None) -> None:
        """Read nothing more until what was received is acted on: at the next turn, or if there is no `wait`, when the
        peer has read its answers."""
        self.connection.keep_rest()
        if self._transport is not None and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        if self.connection.queued:
            self.flush_soon()
        if wait is not None:
            wait(self._go_on)

    def _go_on(self) -> None:
        try:
            self._act()
        except BaseException:
            self.abort()  # as the loop does after an error in `buffer_updated`
            raise

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Hold data back, because the transport is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send what was held back, and resume reading if it had stopped."""
        self._paused = False
        if self._closing:
            return
        self.flush()
        if self._flooded and not self._paused:
            self._flooded = False
            if self._events is not None:
                self.loop_time.wait(self._go_on)
            elif not self._held and not self._reserving:
                self._resume_reading()
        if self._starved and not self._paused:
            self._starved = False
            self._writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the handler that the transport is gone."""
        self._transport = self._events = None
        self._give_back()
        self._descriptor = -1
        if self._last_call is not None:
            self._last_call.cancel()
        self._handler.lost(exc)
