"""One connection, without I/O: bytes in, events out; messages and data in, bytes out. The same class on both sides.

    for event in connection.receive_data(data):   # act on each event before taking the next
        ...
    channel = connection.open(RunRequest(...))    # client only
    connection.send(channel, message)
    connection.send_data(channel, "stdin", data[: connection.room(channel, "stdin")])
    connection.acknowledge(channel, "stdout", n)  # the consumer has processed n bytes: return their credit
    buffers = connection.data_to_send()           # after any of the above: send them, in this order

The tables in `states` and the channels (`channel`) decide who may send what. This module applies them, numbers the
channels, and answers pings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from . import messages as m
from .channel import KIND_BY_STREAM, STREAM_BY_KIND, Channel
from .errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .events import ChannelFailed, ConnectionFailed, DataReceived, Event, LargeMessage, MessageReceived
from .features import known_features, left_out
from .frames import FRAME_HEADER, FrameDecoder, Kind, SendQueue, encode_frame
from .limits import FRAME_HEADER_SIZE, MAX_CHANNEL, MIN_MESSAGE, KiB, Limits, login_limits
from .states import CHANNEL_MESSAGES, CONNECTION_TRANSITIONS, FINAL_MESSAGES, Phase, Side

DEFAULT_LIMITS: Final = Limits()

LARGE_MESSAGE: Final = 16 * KiB
"""Bytes of a message up to which decoding it takes less than five milliseconds, whatever is in it. Most commands fit,
with their environment; for those another thread would take longer."""


class Connection:
    """The protocol state of one side.

    A mistake by the peer becomes an event, and an `error` for it is queued. A mistake by the caller raises
    `LocalProtocolError` and changes nothing.
    """

    def __init__(self, side: Side, limits: Limits = DEFAULT_LIMITS) -> None:
        self.side: Final = side
        self.limits: Final = limits
        self.phase = Phase.HELLO
        self.peer_limits: m.AnnouncedLimits | None = None
        self.peer_features: frozenset[str] = frozenset()
        """The features that the peer has announced. Fields of other features are left out of what is sent to it."""
        self.hello_frame = b""
        """The exact bytes of the client's `hello` frame, which the login signature covers."""
        self._channels: dict[int, Channel] = {}
        self._highest = 0
        self._decoder = FrameDecoder(self._check_header)
        self._queue = SendQueue()
        self._held_openings: dict[int, None] = {}
        """Channels whose opening is queued behind data; what is sent on them must not overtake it."""

    # Sending

    @property
    def announced_limits(self) -> m.AnnouncedLimits:
        """This side's limits, as `hello` and `welcome` announce them."""
        limits = self.limits
        return m.AnnouncedLimits(
            message=limits.message, data=limits.data, window=limits.window, channels=limits.channels
        )

    @property
    def closed(self) -> bool:
        """Whether an `error` on channel 0 was sent or received: send what is queued, then close the transport."""
        return self.phase is Phase.CLOSED

    @property
    def open_channels(self) -> int:
        """Number of open channels."""
        return len(self._channels)

    @property
    def queued(self) -> int:
        """Bytes that `data_to_send` would return."""
        return self._queue.bytes

    @property
    def flooded(self) -> bool:
        """Whether too many answers are queued: read nothing more from this peer until they have been sent."""
        return self._queue.answer_bytes > self.limits.control

    def open(self, message: m.Message) -> int:
        """Queue `message`, which opens a channel, and return the channel's number. Client only.

        Numbers start at 1 and are never reused.

        Raises `LocalProtocolError` before login, when the service's limit on channels is reached, and for a message
        that opens no channel or is larger than the service accepts.
        """
        if self.side is not Side.CLIENT or type(message) not in CHANNEL_MESSAGES:
            raise LocalProtocolError(f"a {self.side} cannot open a channel with {message.type}")
        peer = self._ready()
        if len(self._channels) >= peer.channels:
            raise LocalProtocolError(f"{peer.channels} channels are open, and the service accepts no more")
        if self._highest == MAX_CHANNEL:
            raise LocalProtocolError("the channel numbers of this connection are used up")
        payload = self._payload(message)
        self._highest += 1
        # The message that reuses a closed channel's slot must not overtake the queued close.
        at_limit = len(self._channels) + self._queue.held_back >= peer.channels
        self._add(self._highest, message)
        if at_limit:
            self._held_openings[self._highest] = None
        self._put(self._highest, message, payload, ordered=at_limit)
        return self._highest

    def send(self, channel: int, message: m.Message) -> None:
        """Queue `message` on `channel`; channel 0 is the connection itself. Send `data_to_send()` soon.

        Raises `LocalProtocolError` if the state tables do not allow the message now, or if it is larger than the peer
        accepts.
        """
        payload = self._payload(message)
        if channel == 0:
            following = CONNECTION_TRANSITIONS[self.phase].get((self.side, type(message)))
            if following is None:
                raise LocalProtocolError(f"{message.type} is not legal for a {self.side} in phase {self.phase}")
            if isinstance(message, m.Hello):
                self.hello_frame = encode_frame(Kind.MESSAGE, 0, payload)
            if following is Phase.CLOSED:
                self._discard()
            self.phase = following
            self._put(0, message, payload, ordered=False)
            return
        state = self._channels.get(channel)
        if state is None:
            raise LocalProtocolError(f"channel {channel} is not open")
        state.message_sent(message)
        self._put(channel, message, payload, ordered=message.ordered)
        self._forget_closed(state)

    def room(self, channel: int, stream: m.Stream) -> int:
        """Return how many bytes of `stream` one `send_data` may carry now.

        The result is 0 without credit, after the end of the stream, and on the service's side before `started`. A
        `credit` message from the peer increases it.
        """
        state = self._channels.get(channel)
        if state is None or self.peer_limits is None:
            return 0
        window = state.send_window(stream)
        return 0 if window is None else min(window.credit, self.peer_limits.data)

    def send_data(self, channel: int, stream: m.Stream, data: bytes | memoryview) -> None:
        """Queue 1 to `room()` bytes of `stream`, which must not change. Raises `LocalProtocolError` for more bytes, and
        for an empty `data`."""
        state, peer, size = self._channels.get(channel), self.peer_limits, len(data)
        window = None if state is None or peer is None else state.send_window(stream)
        if window is None or peer is None or not 0 < size <= peer.data or size > window.credit:
            raise LocalProtocolError(f"channel {channel}: no room for {size} bytes of {stream}")
        window.spend(size)
        self._queue.put_data(KIND_BY_STREAM[stream], channel, data)

    def acknowledge(self, channel: int, stream: m.Stream, count: int) -> bool:
        """Record that the consumer has processed `count` bytes of an incoming `stream`, and queue credit once enough
        has accumulated; return whether it was.

        Does nothing if the stream has ended or the channel is closed. Raises `LocalProtocolError` before `started`,
        because `started` must precede credit.
        """
        state = self._channels.get(channel)
        if state is None or state.finished:
            return False
        if state.before_started:
            raise LocalProtocolError(f"channel {channel}: the {self.side} may not send credit before started")
        window = state.receives.get(stream)
        grant = window.acknowledge(count) if window is not None else 0
        if grant:
            credit = m.Credit(stream=stream, bytes=grant)
            self._put(channel, credit, self._payload(credit), ordered=False)
        return grant > 0

    def fail(self, code: ErrorCode, reason: str) -> None:
        """Discard everything queued, and end the connection with an `error`.

        Send `data_to_send()`, then close the transport.
        """
        if self.phase is not Phase.CLOSED:
            self.send(0, m.Error(code=code, message=reason))

    def data_to_send(self) -> list[bytes | memoryview]:
        """Remove and return the queued bytes, control frames first. The caller must send all of them, in this order."""
        self._held_openings.clear()
        return self._queue.take()

    def _ready(self) -> m.AnnouncedLimits:
        if self.phase is not Phase.READY or self.peer_limits is None:
            raise LocalProtocolError(f"channels need phase ready; this connection is in phase {self.phase}")
        return self.peer_limits

    def _payload(self, message: m.Message) -> bytes:
        payload = m.encode(message, left_out(message.type, self.peer_features))
        limit = self.peer_limits.message if self.phase is Phase.READY and self.peer_limits is not None else MIN_MESSAGE
        if len(payload) > limit:
            raise LocalProtocolError(f"a {message.type} of {len(payload)} bytes; the peer accepts at most {limit}")
        return payload

    def _put(self, channel: int, message: m.Message, payload: bytes, *, ordered: bool) -> None:
        # A client's requests do not count as answers: it chooses to send them. If they counted, both sides could stop
        # reading and wait for each other.
        answer = self.side is Side.SERVER or isinstance(message, m.Pong | m.Credit)
        ordered = ordered or channel in self._held_openings
        self._queue.put_message(channel, payload, ordered=ordered, answer=answer)

    def _discard(self) -> None:
        self._queue.take()
        self._channels.clear()

    def _add(self, number: int, opening: m.Message | None) -> Channel:
        assert self.peer_limits is not None
        state = Channel(
            number, opening, self.side, send_window=self.peer_limits.window, receive_window=self.limits.window
        )
        self._channels[number] = state
        return state

    def _forget_closed(self, state: Channel) -> None:
        if state.closed:
            self._channels.pop(state.number, None)

    # Receiving

    def receive_data(self, data: bytes | bytearray | memoryview) -> Iterator[Event]:
        """Yield the events in `data`, which is copied and may begin and end anywhere in a frame.

        Exhaust the iterator before the next call, and act on each event before taking the next: the next frame is
        checked against the state after the caller's reaction. Then send `data_to_send()`, and close the transport if
        `closed` is true.
        """
        for event in self.receive(data):
            if event is not None and not isinstance(event, LargeMessage):
                yield event

    def receive(self, data: bytes | bytearray | memoryview) -> Iterator[Event | LargeMessage | None]:
        """Do the same for a caller that shares its thread with others: it may pause between two events, after a call of
        `keep_rest`. A `LargeMessage` comes before the event of each message that may take long to decode, and None
        stands for a frame without an event, such as a ping: there may be thousands of them."""
        return iter(()) if self.phase is Phase.CLOSED else self._receive(self._decoder.frames(data))

    def _receive(self, frames: Iterator[tuple[int, int, bytes]]) -> Iterator[Event | LargeMessage | None]:
        try:
            for kind, channel, payload in frames:
                large = None
                if kind == Kind.MESSAGE and len(payload) > LARGE_MESSAGE and self.phase is Phase.READY:
                    large = LargeMessage(payload, self.limits)
                    yield large
                    if self.closed:
                        return
                yield self._frame(kind, channel, payload, large)
                if self.closed:
                    return
        except RemoteProtocolError as error:
            self.fail(error.code, error.reason)
            yield ConnectionFailed(error.without_traceback())

    def whole_data(self, data: memoryview) -> DataReceived | None:
        """Return the event of `data` if that is one whole frame of a stream and legal now, such as a key that was
        typed. For anything else return None and change nothing: `receive`, which takes twice as long, must be called.
        """
        if self.phase is not Phase.READY or self._decoder.waits or len(data) <= FRAME_HEADER_SIZE:
            return None
        word, channel = FRAME_HEADER.unpack_from(data)
        size = len(data) - FRAME_HEADER_SIZE
        stream, state = STREAM_BY_KIND.get(word & 0xFF), self._channels.get(channel)
        if stream is None or state is None or state.finished or word >> 8 != size or size > self.limits.data:
            return None
        try:
            state.receive_window(stream).receive(size)
        except RemoteProtocolError:
            return None  # `receive` reports it
        return DataReceived(channel, stream, bytes(data[FRAME_HEADER_SIZE:]))

    def keep_rest(self) -> None:
        """Copy the bytes of which `receive_data` has not yielded the events yet: their buffer may be used again."""
        self._decoder.keep_rest()

    @property
    def incomplete(self) -> int:
        """The length of the frame of which only a part has arrived; 0 if there is none."""
        return self._decoder.incomplete

    def _check_header(self, kind: int, channel: int, length: int) -> None:
        if kind == Kind.MESSAGE:
            limit = self.limits.message if self.phase is Phase.READY else self.limits.login_message
            if self.side is Side.SERVER and self.phase is Phase.READY and channel <= self._highest:
                limit = min(limit, self.limits.small_message)
        elif kind not in STREAM_BY_KIND:
            raise RemoteProtocolError(ErrorCode.UNKNOWN_KIND, f"unknown frame kind {kind}")
        elif self.phase is not Phase.READY:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"no data are legal in phase {self.phase}")
        else:
            limit = self.limits.data
        if length > limit:
            raise RemoteProtocolError(ErrorCode.FRAME_TOO_LARGE, f"a frame of {length} bytes; the limit is {limit}")

    def _frame(self, kind: int, channel: int, payload: bytes, large: LargeMessage | None) -> Event | None:
        if kind == Kind.MESSAGE:
            if channel == 0:
                return self._connection_message(payload)
            return self._channel_message(channel, payload, large)
        state = self._known(channel)
        if state.finished:
            return None
        stream = STREAM_BY_KIND[kind]
        if not payload:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"channel {channel}: an empty data frame")
        state.receive_window(stream).receive(len(payload))
        return DataReceived(channel, stream, payload)

    def _connection_message(self, payload: bytes) -> Event | None:
        message = m.decode(payload, self.limits if self.phase is Phase.READY else login_limits(self.limits))
        following = CONNECTION_TRANSITIONS[self.phase].get((self.side.peer, type(message)))
        if following is None:
            raise RemoteProtocolError(
                ErrorCode.NOT_LEGAL, f"{message.type} is not legal on channel 0 in phase {self.phase}"
            )
        if isinstance(message, m.Ping):
            self._queue.put_pong(self._payload(m.Pong(id=message.id)))
            return None
        if isinstance(message, m.Hello):
            self.hello_frame = encode_frame(Kind.MESSAGE, 0, payload)
        if isinstance(message, m.Hello | m.Welcome):
            self.peer_limits, self.peer_features = message.limits, known_features(frozenset(message.features))
        self.phase = following
        if following is Phase.CLOSED:
            self._discard()
        return MessageReceived(0, message)

    def _channel_message(self, channel: int, payload: bytes, large: LargeMessage | None) -> Event | None:
        if self.phase is not Phase.READY:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"no channel may be used in phase {self.phase}")
        if self.side is Side.SERVER and channel > self._highest:
            return self._opened_by_peer(channel, payload, large)
        try:
            message = m.decode(payload, self.limits) if large is None else large.message()
        except RemoteProtocolError as error:
            state = self._known(channel)
            if self.side is Side.CLIENT or state.peer_finished:
                raise
            return self._fail_channel(state, error)
        if type(message) in CHANNEL_MESSAGES and self.side is Side.SERVER:
            raise RemoteProtocolError(ErrorCode.CHANNEL_REUSED, f"channel {channel} was opened before")
        state = self._known(channel)
        # After this side's final message, which the peer may not have seen yet, only the peer's final message matters.
        if state.finished and type(message) not in FINAL_MESSAGES[self.side.peer]:
            return None
        state.message_received(message)
        self._forget_closed(state)
        return MessageReceived(channel, message)

    def _opened_by_peer(self, channel: int, payload: bytes, large: LargeMessage | None) -> Event | None:
        self._highest = channel
        try:
            message = self._opening(channel, payload, large)
        except RemoteProtocolError as error:
            if error.code is ErrorCode.UNKNOWN_CHANNEL:
                raise
            return self._fail_channel(self._add(channel, None), error)
        self._add(channel, message)
        return MessageReceived(channel, message)

    def _opening(self, channel: int, payload: bytes, large: LargeMessage | None) -> m.AnyMessage:
        if len(self._channels) >= self.limits.channels:
            raise RemoteProtocolError(
                ErrorCode.TOO_MANY_CHANNELS, f"{self.limits.channels} channels are open; close one first"
            )
        message = m.decode(payload, self.limits) if large is None else large.message()
        if type(message) not in CHANNEL_MESSAGES:
            raise RemoteProtocolError(
                ErrorCode.UNKNOWN_CHANNEL, f"{message.type} on channel {channel}, which was never opened"
            )
        return message

    def _known(self, channel: int) -> Channel:
        state = self._channels.get(channel)
        if state is not None:
            return state
        if 0 < channel <= self._highest:
            raise RemoteProtocolError(ErrorCode.CHANNEL_CLOSED, f"channel {channel} is closed")
        raise RemoteProtocolError(ErrorCode.UNKNOWN_CHANNEL, f"channel {channel} was never opened")

    def _fail_channel(self, state: Channel, error: RemoteProtocolError) -> Event | None:
        if len(self._channels) > 2 * self.limits.channels:
            raise RemoteProtocolError(ErrorCode.TOO_MANY_CHANNELS, "the client has left too many failed channels open")
        if state.finished:
            return None
        self.send(state.number, m.Error(code=error.code, message=error.reason))
        return ChannelFailed(state.number, error.without_traceback())
