"""One connection, without I/O: bytes in, events out; messages and data in, bytes out. The same class on both sides.

for event in connection.receive_data(data): # act on each at once, then send what data_to_send() returns
channel = connection.open(Run(...))         # client only
connection.send(channel, message)
connection.send_data(channel, "stdin", data[: connection.room(channel, "stdin")])
connection.acknowledge(channel, "stdout", n)       # the consumer has taken n bytes: gives credit back
buffers = connection.data_to_send()
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from . import messages as m
from .channel import KIND_BY_STREAM, STREAM_BY_KIND, Channel
from .errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .frames import FrameDecoder, Kind, SendQueue, encode_frame
from .limits import MAX_CHANNEL, MIN_MESSAGE, Limits
from .states import CHANNEL_MESSAGES, CONNECTION_TRANSITIONS, FINAL_MESSAGES, Phase, Side

DEFAULT_LIMITS: Final = Limits()


class MessageReceived(NamedTuple):
    """A legal message came. A client's opening message on a new channel has opened that channel."""

    channel: int
    message: m.AnyMessage


class DataReceived(NamedTuple):
    """Bytes of a stream came; give their credit back with `Connection.take` once they are consumed."""

    channel: int
    stream: m.Stream
    data: bytes


class ChannelFailed(NamedTuple):
    """A message on this channel could not be understood; the peer has been told, and others go on."""

    channel: int
    error: RemoteProtocolError


class ConnectionFailed(NamedTuple):
    """The peer broke the protocol; it has been told: send what there is, then close."""

    error: RemoteProtocolError


Event: TypeAlias = MessageReceived | DataReceived | ChannelFailed | ConnectionFailed


class Connection:
    """The protocol state of one side.

    A mistake of the peer queues an `error` for it and comes out as an event; a mistake of the caller raises
    `LocalProtocolError` and changes nothing.
    """

    def __init__(self, side: Side, limits: Limits = DEFAULT_LIMITS) -> None:
        self.side: Final = side
        self.limits: Final = limits
        self.phase = Phase.HELLO
        self.peer_limits: m.AnnouncedLimits | None = None
        self.hello_frame = b""
        """The exact bytes of the client's `hello` frame, which the login signs."""
        self._channels: dict[int, Channel] = {}
        self._highest = 0
        self._decoder = FrameDecoder(self._check_header)
        self._queue = SendQueue()

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
        """Whether an `error` on channel 0 went either way; nothing received counts any more."""
        return self.phase is Phase.CLOSED

    @property
    def open_channels(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    @property
    def queued(self) -> int:
        """Bytes that wait for `data_to_send`."""
        return self._queue.bytes

    @property
    def flooded(self) -> bool:
        """Whether so many answers wait that no more should be read from this peer until they are sent."""
        return self._queue.answer_bytes > self.limits.control

    def open(self, message: m.Message) -> int:
        """Open a channel with `message` and return its number, from 1 up, never used twice. Client only."""
        if self.side is not Side.CLIENT or type(message) not in CHANNEL_MESSAGES:
            raise LocalProtocolError(f"a {self.side} cannot open a channel with {message.type}")
        peer = self._ready()
        if len(self._channels) >= peer.channels:
            raise LocalProtocolError(f"{peer.channels} channels are open, and the service takes no more")
        if self._highest == MAX_CHANNEL:
            raise LocalProtocolError("the channel numbers of this connection are used up")
        payload = self._payload(message)
        self._highest += 1
        # A close that waits behind data must not be overtaken by the run that takes the place it makes.
        at_limit = len(self._channels) + self._queue.held_back >= peer.channels
        self._add(self._highest, message)
        self._put(self._highest, message, payload, ordered=at_limit)
        return self._highest

    def send(self, channel: int, message: m.Message) -> None:
        """Queue `message`; `LocalProtocolError` where the state tables do not allow it now."""
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
        state.sending(message)
        self._put(channel, message, payload, ordered=message.ordered)
        self._forget_closed(state)

    def room(self, channel: int, stream: m.Stream) -> int:
        """Return how many bytes of `stream` one `send_data` may carry now; 0 without credit, once it has ended, and for
        the service before `started`."""
        state = self._channels.get(channel)
        if state is None or self.peer_limits is None:
            return 0
        window = state.send_window(stream)
        return 0 if window is None else min(window.credit, self.peer_limits.data)

    def send_data(self, channel: int, stream: m.Stream, data: bytes) -> None:
        """Queue 1 to `room()` bytes of `stream`."""
        if not 0 < len(data) <= self.room(channel, stream):
            raise LocalProtocolError(
                f"channel {channel}: {len(data)} bytes of {stream} are more than there is room for"
            )
        self._channels[channel].sends[stream].spend(len(data))
        self._queue.put_data(KIND_BY_STREAM[stream], channel, data)

    def acknowledge(self, channel: int, stream: m.Stream, count: int) -> None:
        """Say that the consumer has taken `count` bytes of an incoming `stream`, so that their credit goes back."""
        state = self._channels.get(channel)
        if state is None or state.finished:
            return
        window = state.receives.get(stream)
        grant = window.acknowledge(count) if window is not None else 0
        if grant:
            credit = m.Credit(stream=stream, bytes=grant)
            self._put(channel, credit, self._payload(credit), ordered=False)

    def fail(self, code: ErrorCode, reason: str) -> None:
        """End the connection with an `error`; what was queued is dropped."""
        if self.phase is not Phase.CLOSED:
            self.send(0, m.Error(code=code, message=reason))

    def data_to_send(self) -> list[bytes]:
        """Return the queued bytes, control frames first, and forget them."""
        return self._queue.take()

    def _ready(self) -> m.AnnouncedLimits:
        if self.phase is not Phase.READY or self.peer_limits is None:
            raise LocalProtocolError(f"channels need phase ready; this connection is in phase {self.phase}")
        return self.peer_limits

    def _payload(self, message: m.Message) -> bytes:
        payload = m.encode(message)
        limit = self.peer_limits.message if self.phase is Phase.READY and self.peer_limits is not None else MIN_MESSAGE
        if len(payload) > limit:
            raise LocalProtocolError(f"a {message.type} of {len(payload)} bytes; the peer takes {limit} at the most")
        return payload

    def _put(self, channel: int, message: m.Message, payload: bytes, *, ordered: bool) -> None:
        # A client's requests are its own doing. Were they counted, two sides could each wait for the other to read.
        answer = self.side is Side.SERVER or isinstance(message, m.Pong | m.Credit)
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
        """Yield the events in `data`, which may begin and end anywhere in a frame. Each is yielded before the next
        frame is looked at, so that what the owner does about it counts for that; has to be exhausted. The data are
        copied.
        """
        if self.phase is Phase.CLOSED:
            return
        try:
            for kind, channel, payload in self._decoder.frames(data):
                event = self._frame(kind, channel, payload)
                if event is not None:
                    yield event
                if self.closed:
                    return
        except RemoteProtocolError as error:
            self.fail(error.code, error.reason)
            yield ConnectionFailed(error)

    def _check_header(self, kind: int, length: int) -> None:
        if kind == Kind.MESSAGE:
            limit = self.limits.message if self.phase is Phase.READY else self.limits.login_message
        elif kind not in STREAM_BY_KIND:
            raise RemoteProtocolError(ErrorCode.UNKNOWN_KIND, f"frames of kind {kind} are not known")
        elif self.phase is not Phase.READY:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"no data are legal in phase {self.phase}")
        else:
            limit = self.limits.data
        if length > limit:
            raise RemoteProtocolError(
                ErrorCode.FRAME_TOO_LARGE, f"a frame announces {length} bytes; the limit is {limit}"
            )

    def _frame(self, kind: int, channel: int, payload: bytes) -> Event | None:
        if kind == Kind.MESSAGE:
            if channel == 0:
                return self._connection_message(payload)
            return self._channel_message(channel, payload)
        state = self._known(channel)
        if state.finished:
            return None
        stream = STREAM_BY_KIND[kind]
        if not payload:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"channel {channel}: an empty data frame says nothing")
        state.receive_window(stream).receive(len(payload))
        return DataReceived(channel, stream, payload)

    def _connection_message(self, payload: bytes) -> Event | None:
        message = m.decode(payload, self.limits)
        following = CONNECTION_TRANSITIONS[self.phase].get((self.side.peer, type(message)))
        if following is None:
            raise RemoteProtocolError(
                ErrorCode.NOT_LEGAL, f"{message.type} is not legal on channel 0 in phase {self.phase}"
            )
        if isinstance(message, m.Ping):
            self.send(0, m.Pong(id=message.id))
            return None
        if isinstance(message, m.Hello):
            self.hello_frame = encode_frame(Kind.MESSAGE, 0, payload)
        if isinstance(message, m.Hello | m.Welcome):
            self.peer_limits = message.limits
        self.phase = following
        if following is Phase.CLOSED:
            self._discard()
        return MessageReceived(0, message)

    def _channel_message(self, channel: int, payload: bytes) -> Event | None:
        if self.phase is not Phase.READY:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"no channel may be used in phase {self.phase}")
        if self.side is Side.SERVER and channel > self._highest:
            return self._opened_by_peer(channel, payload)
        try:
            message = m.decode(payload, self.limits)
        except RemoteProtocolError as error:
            state = self._known(channel)
            if self.side is Side.CLIENT or state.peer_finished:
                raise
            return self._fail_channel(state, error)
        if type(message) in CHANNEL_MESSAGES and self.side is Side.SERVER:
            raise RemoteProtocolError(ErrorCode.CHANNEL_REUSED, f"channel {channel} was opened before")
        state = self._known(channel)
        # Once this side has said its last, which the peer may not know yet, only the peer's last still matters.
        if state.finished and type(message) not in FINAL_MESSAGES[self.side.peer]:
            return None
        state.receiving(message)
        self._forget_closed(state)
        return MessageReceived(channel, message)

    def _opened_by_peer(self, channel: int, payload: bytes) -> Event | None:
        self._highest = channel
        try:
            message = self._opening(channel, payload)
        except RemoteProtocolError as error:
            if error.code is ErrorCode.UNKNOWN_CHANNEL:
                raise
            return self._fail_channel(self._add(channel, None), error)
        self._add(channel, message)
        return MessageReceived(channel, message)

    def _opening(self, channel: int, payload: bytes) -> m.AnyMessage:
        if len(self._channels) >= self.limits.channels:
            raise RemoteProtocolError(
                ErrorCode.TOO_MANY_CHANNELS, f"{self.limits.channels} channels are open; close one first"
            )
        message = m.decode(payload, self.limits)
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
            raise RemoteProtocolError(
                ErrorCode.TOO_MANY_CHANNELS, "too many failed channels were not closed by the client"
            )
        if state.finished:
            return None
        self.send(state.number, m.Error(code=error.code, message=error.reason))
        return ChannelFailed(state.number, error)
