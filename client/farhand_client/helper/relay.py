"""Passes frames on between the callers and the one connection that they share.

No task, no future and no model for a frame: its header says where it belongs. Of a message only the type matters, and
only to know when a channel is closed on both sides and its number can be forgotten.

What is held for a caller that does not read is bounded by the windows of its streams, and by `MAX_QUEUED`. What callers
send is bounded by the connection: while it is full, nothing more is read from them.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from farhand_client.mux.ask import peer
from farhand_protocol.frames import MAX_PONGS, Kind, encode_frame
from farhand_protocol.keepalive import Keepalive, KeepaliveAction
from farhand_protocol.limits import CLIENT_LIMITS, FRAME_HEADER_SIZE, Limits, MiB
from farhand_protocol.transport import WRITE_HIGH, WRITE_LOW

from .framing import BrokenFrame, FrameProtocol

MAX_CALLERS: Final = 64
"""Callers of one connection: loops like `xargs -P64` are the most that people start by hand."""

MAX_OPEN_CHANNELS: Final = 192
"""Open channels of one connection. A service accepts 256 runs on one (`runs.max_runs_per_connection`), and a caller
must not meet a limit because of others: it is passed on to a connection of its own before."""

MAX_CHANNEL_NUMBER: Final = 1 << 31
"""Channels after which a connection is used no more: half of what the protocol has, so that callers may go on."""

MAX_QUEUED: Final = 9 * MiB
"""Bytes that wait for a caller: the windows of two streams, and the messages between. A caller that has more channels
and reads none of them is cut off; it connects by itself and goes on where it was."""

MUCH_QUEUED: Final = 1 * MiB
"""Bytes that wait for a caller from which on the sum over all callers is looked at."""

LAST_READ_TIMEOUT: Final = 2.0
"""Seconds that a caller has to read what it was sent before its connection ended."""

UPSTREAM_KEEPALIVE: Final = 15.0
"""As that of a command that connects by itself (`connector.KEEPALIVE_INTERVAL`)."""

SILENT_TIME: Final = 1.0
"""Seconds of silence after which a connection may be dead: the next caller is served, and the service pinged."""

LIVENESS_TIMEOUT: Final = 3.0
"""Seconds that the service has to answer then. A caller must not wait for the keep-alive to notice that this machine
has slept or changed its network."""

_CHANNEL: Final = struct.Struct(">I")
_CLOSE_LOST: Final = b'{"type":"close","lost":true}'

_FINAL: Final = frozenset({b"ended", b"done", b"matched", b"service_status", b"error"})
"""The types of `states.FINAL_MESSAGES` of the service."""


def message_type(frame: memoryview) -> bytes:
    """Return the type of the message in a frame; empty if it has none."""
    head = bytes(frame[FRAME_HEADER_SIZE : FRAME_HEADER_SIZE + 64])
    if head.startswith(b'{"type":"'):
        name = head[9 : max(head.find(b'"', 9), 9)]
        if name and b"\\" not in name:
            return name
    value = _parsed(frame).get("type")
    return value.encode(errors="replace") if isinstance(value, str) else b""


def _parsed(frame: memoryview) -> dict[str, Any]:
    try:
        value = json.loads(bytes(frame[FRAME_HEADER_SIZE:]))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BrokenFrame("a message is no JSON object")
    return value


def _number(frame: memoryview) -> int:
    value = _parsed(frame).get("id")
    if not isinstance(value, int):
        raise BrokenFrame("a ping has no number")
    return value


class SharedChannel:
    """A channel of the connection, and whose it is."""

    __slots__ = ("caller", "caller_closed", "number", "own_number", "service_finished")

    def __init__(self, caller: Borrower, own_number: int, number: int) -> None:
        self.caller: Borrower | None = caller
        """None after the caller is lost."""
        self.own_number = own_number
        """The number by which the caller knows it."""
        self.number = number
        """The number by which the service knows it."""
        self.caller_closed = False
        self.service_finished = False


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
        self._switchboard.joined(self)

    def eof_received(self) -> bool:
        """Close: a caller that sends nothing more expects nothing more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the shared connection."""
        self._transport = None
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
        _CHANNEL.pack_into(frame, 4, shared.number)
        upstream.send(bytes(frame))
        if kind == Kind.MESSAGE and message_type(frame) == b"close":
            shared.caller_closed = True
            upstream.forget_closed(shared)

    def _connection_message(self, upstream: Upstream, frame: memoryview) -> None:
        kind = message_type(frame)
        if kind == b"ping":
            upstream.ping_for(self, _number(frame))
        elif kind == b"hello" and not self._hello_seen and not self._highest:
            self._hello_seen = True
        elif kind != b"pong":
            raise BrokenFrame(f"{kind!r} on channel 0")

    def broken(self, why: BrokenFrame) -> None:
        self.abort()


class Upstream(FrameProtocol):
    """A connection to a service that is logged in. `gone` is called once, when it has ended."""

    def __init__(self, limits: Limits, gone: Callable[[Upstream], None]) -> None:
        super().__init__()
        self.limits: Final = limits
        """What the service accepts."""
        self.callers: Final[set[Borrower]] = set()
        self.full = False
        """Whether the transport holds so much that nothing more is read from the callers."""
        self.retired = False
        """Whether no further caller may use it. It is closed when the last one has left."""
        self.lost = False
        self.bytes_sent = 0
        self.bytes_received = 0
        self.channels_opened = 0
        self.idle_since = self._now()
        """When the last caller left."""
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._channels: dict[int, SharedChannel] = {}
        self._arrived: dict[Borrower, list[bytes]] = {}
        """Frames of this read. A short run's messages arrive together, and each write wakes its caller."""
        self._pings: dict[int, tuple[Borrower, int] | None] = {}
        self._pongs: deque[bytes] = deque(maxlen=MAX_PONGS)
        """Answers that wait until the transport has room: a service may ping without end, and read nothing."""
        self._ping_number = 0
        self._received_at = self._now()
        self._keepalive = Keepalive(UPSTREAM_KEEPALIVE)
        self._timer: asyncio.TimerHandle | None = None
        self._probe: asyncio.TimerHandle | None = None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def take(self, transport: asyncio.Transport) -> None:
        """Begin with a transport whose protocol this is from now on."""
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        self._keepalive.start(self._now())
        self._schedule_keepalive()

    @property
    def open_channels(self) -> int:
        """Number of channels that are open."""
        return len(self._channels)

    @property
    def usable(self) -> bool:
        """Whether another caller may join."""
        return not (self.lost or self.retired) and (
            len(self.callers) < MAX_CALLERS
            and len(self._channels) < MAX_OPEN_CHANNELS // 2
            and self.channels_opened < MAX_CHANNEL_NUMBER
        )

    # Called by the callers

    def join(self, caller: Borrower) -> None:
        """Note that `caller` uses this connection. If nothing has arrived for a while, see whether it is alive."""
        self.callers.add(caller)
        if self._now() - self._received_at >= SILENT_TIME and self._probe is None:
            self._ping(None)
            self._probe = asyncio.get_running_loop().call_later(LIVENESS_TIMEOUT, self._unanswered)

    def leave(self, caller: Borrower) -> None:
        """Note that `caller` is gone, and tell the service about the channels that it has not closed."""
        self.callers.discard(caller)
        for shared in list(caller.channels.values()):
            shared.caller = None
            if not shared.caller_closed:
                shared.caller_closed = True
                self.send(encode_frame(Kind.MESSAGE, shared.number, _CLOSE_LOST))
                self.forget_closed(shared)
        caller.channels.clear()
        if not self.callers:
            self.idle_since = self._now()
            if self.retired:
                self.close()

    def open(self, caller: Borrower, own_number: int) -> SharedChannel:
        """Return a new channel for the caller's `own_number`. Raises `BrokenFrame` if there are too many."""
        if len(self._channels) >= MAX_OPEN_CHANNELS or self.lost:
            raise BrokenFrame("too many channels are open")
        self.channels_opened += 1
        shared = SharedChannel(caller, own_number, self.channels_opened)
        self._channels[shared.number] = shared
        return shared

    def send(self, data: bytes) -> None:
        """Send whole frames to the service."""
        if self._transport is not None and not self.lost:
            self.bytes_sent += len(data)
            self._transport.write(data)

    def ping_for(self, caller: Borrower, number: int) -> None:
        """Send a ping whose answer goes to `caller`, with its `number`. Of too many the oldest is forgotten, as the
        service does."""
        waiting = [own for own, whose in self._pings.items() if whose is not None and whose[0] is caller]
        if len(waiting) >= MAX_PONGS:
            del self._pings[waiting[0]]
        self._ping((caller, number))

    def forget_closed(self, shared: SharedChannel) -> None:
        """Forget a channel that both sides have finished."""
        if shared.caller_closed and shared.service_finished:
            self._channels.pop(shared.number, None)
            if shared.caller is not None:
                shared.caller.channels.pop(shared.own_number, None)

    # Called by the owner

    def retire(self) -> None:
        """Accept no further caller; close as soon as there is none."""
        self.retired = True
        if not self.callers:
            self.close()

    def close(self) -> None:
        """Close the connection, and with it those of its callers."""
        self._end(abort=False)

    # Called by asyncio

    def pause_writing(self) -> None:
        """Read nothing more from the callers."""
        self.full = True
        for caller in self.callers:
            caller.hold(True)

    def resume_writing(self) -> None:
        """Read from the callers again."""
        self.full = False
        while self._pongs and not self.full:
            self.send(self._pongs.popleft())
        for caller in self.callers:
            caller.hold(self.full)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(abort=True)
        self._transport = None

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_received += nbytes
        self._received_at = self._now()
        self._keepalive.received()
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        super().buffer_updated(nbytes)

    def check(self, kind: int, channel: int, length: int) -> None:
        limit = CLIENT_LIMITS.message if kind == Kind.MESSAGE else CLIENT_LIMITS.data
        if length > limit or self.lost:
            raise BrokenFrame(f"a frame of {length} bytes")

    def frame(self, kind: int, channel: int, frame: memoryview) -> None:
        if channel == 0:
            self._connection_message(frame)
            return
        shared = self._channels.get(channel)
        if shared is None:
            raise BrokenFrame(f"channel {channel} is not open")
        caller = shared.caller
        if caller is not None:
            _CHANNEL.pack_into(frame, 4, shared.own_number)
            self._arrived.setdefault(caller, []).append(bytes(frame))
        if kind == Kind.MESSAGE and message_type(frame) in _FINAL:
            shared.service_finished = True
            self.forget_closed(shared)

    def read_done(self) -> None:
        for caller, frames in self._arrived.items():
            caller.deliver(frames[0] if len(frames) == 1 else b"".join(frames))
        self._arrived.clear()

    def broken(self, why: BrokenFrame) -> None:
        self._end(abort=True)

    def _connection_message(self, frame: memoryview) -> None:
        match message_type(frame):
            case b"pong":
                whose = self._pings.pop(_number(frame), None)
                if whose is not None:
                    caller, number = whose
                    caller.deliver(encode_frame(Kind.MESSAGE, 0, b'{"type":"pong","id":%d}' % number))
            case b"ping":
                pong = encode_frame(Kind.MESSAGE, 0, b'{"type":"pong","id":%d}' % _number(frame))
                if self.full:
                    self._pongs.append(pong)
                else:
                    self.send(pong)
            case b"going_away":
                going_away = bytes(frame)
                for caller in list(self.callers):
                    caller.deliver(going_away)
                self.retire()
            case _:  # an error, which ends the connection; the callers will be told when they connect by themselves
                raise BrokenFrame("the service has ended the connection")

    def _ping(self, whose: tuple[Borrower, int] | None) -> None:
        self._ping_number += 1
        if whose is not None:
            self._pings[self._ping_number] = whose
        self.send(encode_frame(Kind.MESSAGE, 0, b'{"type":"ping","id":%d}' % self._ping_number))

    def _unanswered(self) -> None:
        self._probe = None
        self._end(abort=True)

    def _schedule_keepalive(self) -> None:
        if self._keepalive.deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(self._keepalive.deadline, self._check_keepalive)

    def _check_keepalive(self) -> None:
        match self._keepalive.check(self._now()):
            case KeepaliveAction.GIVE_UP:
                self._end(abort=True)
                return
            case KeepaliveAction.PING:
                self._ping(None)
        self._schedule_keepalive()

    def _end(self, *, abort: bool) -> None:
        if self.lost:
            return
        self.lost = True
        for timer in (self._timer, self._probe):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            if abort:
                self._transport.abort()
            else:
                self._transport.close()
        for caller in list(self.callers):
            caller.close()
        self._channels.clear()
        self._pings.clear()
        self._gone(self)
