"""A command's connection to the helper: its first frame asks for something, all others go to a shared connection.

What is held for a caller that does not read is bounded by the windows of its streams, and by `MAX_QUEUED`. What callers
send is bounded by the connection: while it is full, nothing more is read from them.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final, Protocol, cast

from farhand_client.mux.ask import peer
from farhand_protocol.frames import Kind
from farhand_protocol.limits import FRAME_HEADER_SIZE, Limits, MiB

from .framing import BrokenFrame, FrameProtocol
from .shared_channel import SharedChannel, message_type, number_of, readdress
from .upstream import Upstream

MAX_QUEUED: Final = 9 * MiB
"""Bytes that wait for a caller: the windows of two streams, and the messages between. A caller that has more channels
and reads none of them is cut off; it connects by itself and goes on where it was."""

MUCH_QUEUED: Final = 1 * MiB
"""Bytes that wait for a caller from which on the sum over all callers is looked at."""

ASK_TIMEOUT: Final = 5.0
"""Seconds until a connection must have asked for something. Commands ask at once; whoever does not would keep the
helper from ever being idle."""

LAST_READ_TIMEOUT: Final = 2.0
"""Seconds that a caller has to read what it was sent before its connection ended."""


class Switchboard(Protocol):
    """The owner of the callers: decides about their first frame."""

    def joined(self, caller: Borrower) -> None:
        """A caller has connected."""

    def asked(self, caller: Borrower, kind: int, payload: bytes) -> None:
        """The first frame of a caller: call `caller.serve` or `caller.answer`, now or later."""

    def parted(self, caller: Borrower) -> None:
        """A caller's connection has ended."""

    def much_queued(self) -> None:
        """Much waits for some caller: make sure that it is not too much in all."""


class Borrower(FrameProtocol):
    """A command's connection to the helper."""

    def __init__(self, switchboard: Switchboard, max_request: int) -> None:
        super().__init__()
        self.upstream: Upstream | None = None
        self.channels: Final[dict[int, SharedChannel]] = {}
        self._switchboard = switchboard
        self._max_request = max_request
        self._limits = Limits()
        self._highest = 0
        self._asked = False
        self._unasked: asyncio.TimerHandle | None = None
        self._hello_seen = False
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._held = False
        """Whether nothing more is read until its request is decided, or its connection has room."""

    # Called by the owner and the upstream

    def serve(self, upstream: Upstream, welcome: bytes) -> None:
        """Let the caller use `upstream`, whose limits are those of its `welcome` frames."""
        if self._transport is None:
            return
        self.upstream = upstream
        self._limits = upstream.limits
        self.deliver(welcome)
        upstream.join(self)
        self.hold(upstream.full)

    def answer(self, frame: bytes, *, close: bool = True) -> None:
        """Send a frame, and close the connection after it."""
        self.deliver(frame)
        if close:
            self.close()

    def deliver(self, data: bytes) -> None:
        """Send whole frames to the caller."""
        if self._transport is None or self._closing:
            return
        self._transport.write(data)
        queued = self._transport.get_write_buffer_size()
        if queued > MAX_QUEUED:
            self.abort()
        elif queued > MUCH_QUEUED:
            self._switchboard.much_queued()

    @property
    def queued(self) -> int:
        """Bytes that wait until the caller reads them."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def hold(self, held: bool) -> None:
        """Read nothing more from the caller, or read again."""
        if self._transport is not None and held != self._held:
            self._held = held
            if held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def close(self) -> None:
        """Send what is queued, as long as the caller reads it, and close."""
        if self._transport is not None and not self._closing:
            self._closing = True
            self._transport.close()
            asyncio.get_running_loop().call_later(LAST_READ_TIMEOUT, self.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._closing = True
            self._transport.abort()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve this user's processes, and nobody else's."""
        self._transport = cast(asyncio.Transport, transport)
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as accepted:
            uid = peer(accepted)[1]
        if uid != os.geteuid():
            self.abort()
        self._unasked = asyncio.get_running_loop().call_later(ASK_TIMEOUT, self.abort)
        self._switchboard.joined(self)

    def eof_received(self) -> bool:
        """Close: a caller that sends nothing more expects nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the shared connection."""
        self._transport = None
        self._stop_timer()
        if self.upstream is not None:
            self.upstream.leave(self)
        self._switchboard.parted(self)

    def check(self, kind: int, channel: int, length: int) -> None:
        if self.upstream is None:
            limit = 0 if self._asked else self._max_request
        elif kind == Kind.MESSAGE:
            limit = self._limits.message if channel > self._highest else self._limits.small_message
        elif kind in (Kind.STDIN, Kind.STDOUT, Kind.STDERR):
            limit = self._limits.data
        else:
            limit = -1
        if length > limit:
            raise BrokenFrame(f"a frame of kind {kind} with {length} bytes")

    def frame(self, kind: int, channel: int, frame: memoryview) -> None:
        upstream = self.upstream
        if upstream is None:
            self._asked = True
            self._stop_timer()
            self.hold(True)
            self._switchboard.asked(self, kind, bytes(frame[FRAME_HEADER_SIZE:]))
            return
        if channel == 0:
            self._connection_message(upstream, frame)
            return
        shared = self.channels.get(channel)
        if shared is None:
            if kind != Kind.MESSAGE or channel <= self._highest:
                raise BrokenFrame(f"channel {channel} is not open")
            shared = self.channels[channel] = upstream.open(self, channel)
            self._highest = channel
        elif shared.caller_closed:
            raise BrokenFrame(f"channel {channel} is closed")
        readdress(frame, shared.number)
        upstream.send(bytes(frame))
        if kind == Kind.MESSAGE and message_type(frame) == b"close":
            shared.caller_closed = True
            upstream.forget_closed(shared)

    def _stop_timer(self) -> None:
        if self._unasked is not None:
            self._unasked.cancel()
            self._unasked = None

    def _connection_message(self, upstream: Upstream, frame: memoryview) -> None:
        kind = message_type(frame)
        if kind == b"ping":
            upstream.ping_for(self, number_of(frame))
        elif kind == b"hello" and not self._hello_seen and not self._highest:
            self._hello_seen = True
        elif kind != b"pong":
            raise BrokenFrame(f"{kind!r} on channel 0")

    def broken(self, why: BrokenFrame) -> None:
        self.abort()
