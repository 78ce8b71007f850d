"""The one connection to a service that callers share: gives their channels numbers of its own, and passes frames on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from farhand_protocol.frames import MAX_PONGS, Kind, encode_frame
from farhand_protocol.keepalive import Keepalive, KeepaliveAction
from farhand_protocol.limits import CLIENT_LIMITS, Limits
from farhand_protocol.transport import WRITE_HIGH, WRITE_LOW

from .framing import BrokenFrame, FrameProtocol
from .shared_channel import SharedChannel, SharingCaller, message_type, number_of, readdress

MAX_CALLERS: Final = 64
"""Callers of one connection: loops like `xargs -P64` are the most that people start by hand."""

MAX_OPEN_CHANNELS: Final = 192
"""Open channels of one connection. A service accepts 256 runs on one (`runs.max_runs_per_connection`), and a caller
must not meet a limit because of others: it is passed on to a connection of its own before."""

MAX_CHANNEL_NUMBER: Final = 1 << 31
"""Channels after which a connection is used no more: half of what the protocol has, so that callers may go on."""

UPSTREAM_KEEPALIVE: Final = 15.0
"""As that of a command that connects by itself (`connector.KEEPALIVE_INTERVAL`)."""

SILENT_TIME: Final = 1.0
"""Seconds of silence after which a connection may be dead: the next caller is served, and the service pinged."""

LIVENESS_TIMEOUT: Final = 3.0
"""Seconds that the service has to answer then. A caller must not wait for the keep-alive to notice that this machine
has slept or changed its network."""

_CLOSE_LOST: Final = b'{"type":"close","lost":true}'

_FINAL: Final = frozenset({b"ended", b"done", b"matched", b"service_status", b"error"})
"""The types of `states.FINAL_MESSAGES` of the service."""


class Upstream(FrameProtocol):
    """A connection to a service that is logged in. `gone` is called once, when it has ended."""

    def __init__(self, limits: Limits, gone: Callable[[Upstream], None]) -> None:
        super().__init__()
        self.limits: Final = limits
        """What the service accepts."""
        self.callers: Final[set[SharingCaller]] = set()
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
        self._arrived: dict[SharingCaller, list[bytes]] = {}
        """Frames of this read. A short run's messages arrive together, and each write wakes its caller."""
        self._pings: dict[int, tuple[SharingCaller, int] | None] = {}
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

    def join(self, caller: SharingCaller) -> None:
        """Note that `caller` uses this connection. If nothing has arrived for a while, see whether it is alive."""
        self.callers.add(caller)
        if self._now() - self._received_at >= SILENT_TIME and self._probe is None:
            self._ping(None)
            self._probe = asyncio.get_running_loop().call_later(LIVENESS_TIMEOUT, self._unanswered)

    def leave(self, caller: SharingCaller) -> None:
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

    def open(self, caller: SharingCaller, own_number: int) -> SharedChannel:
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

    def ping_for(self, caller: SharingCaller, number: int) -> None:
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
            readdress(frame, shared.own_number)
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
                whose = self._pings.pop(number_of(frame), None)
                if whose is not None:
                    caller, number = whose
                    caller.deliver(encode_frame(Kind.MESSAGE, 0, b'{"type":"pong","id":%d}' % number))
            case b"ping":
                pong = encode_frame(Kind.MESSAGE, 0, b'{"type":"pong","id":%d}' % number_of(frame))
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

    def _ping(self, whose: tuple[SharingCaller, int] | None) -> None:
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
