"""One channel: which streams are open in each direction, with how much credit, and which side has finished.

A `Channel` is changed only by its `Connection`, which consults it before a message is queued for sending or passed on
to the caller.
"""

from __future__ import annotations

from typing import Final

from .errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .frames import Kind
from .messages import Attach, Credit, End, GapNotice, Message, RunRequest, Started, Stream
from .states import (
    AT_MOST_ONCE,
    CHANNEL_MESSAGES,
    FINAL_MESSAGES,
    LEGAL_AFTER_CLOSE,
    LEGAL_BEFORE_STARTED,
    READ_ONLY_MESSAGES,
    TERMINAL_ONLY,
    UNREADABLE_OPENING,
    LegalMessages,
    Side,
)
from .window import ReceiveWindow, SendWindow

KIND_BY_STREAM: Final[dict[Stream, Kind]] = {"stdin": Kind.STDIN, "stdout": Kind.STDOUT, "stderr": Kind.STDERR}
STREAM_BY_KIND: Final[dict[int, Stream]] = {kind: stream for stream, kind in KIND_BY_STREAM.items()}


def open_streams(opening: Message | None) -> dict[Side, dict[Stream, int]]:
    """Return the streams that each side sends on a channel opened by `opening`, with the offset of their first byte."""
    stdin: dict[Stream, int | None] = {}
    output: dict[Stream, int | None] = {}
    match opening:
        case RunRequest():
            stdin = {"stdin": 0 if opening.stdin else None}
            output = {"stdout": 0, "stderr": None if opening.merge_stderr else 0}
        case Attach():
            stdin = {"stdin": opening.stdin}
            output = {"stdout": opening.stdout, "stderr": opening.stderr}
    return {Side.CLIENT: _wanted(stdin), Side.SERVER: _wanted(output)}


def _wanted(offsets: dict[Stream, int | None]) -> dict[Stream, int]:
    return {stream: offset for stream, offset in offsets.items() if offset is not None}


def legal_messages(opening: Message | None) -> LegalMessages:
    """Return what each side may send on a channel opened by `opening`; None stands for an unreadable opening
    message."""
    if opening is None:
        return UNREADABLE_OPENING
    kinds = CHANNEL_MESSAGES[type(opening)] if _has_terminal(opening) else _WITHOUT_TERMINAL[type(opening)]
    return kinds | {Side.CLIENT: READ_ONLY_MESSAGES} if isinstance(opening, Attach) and opening.read_only else kinds


def _has_terminal(opening: Message) -> bool:
    match opening:
        case RunRequest():
            return opening.terminal is not None
        case Attach():
            return opening.size is not None
        case _:
            return False


_WITHOUT_TERMINAL: Final[dict[type[Message], LegalMessages]] = {
    opening: {side: kinds - TERMINAL_ONLY for side, kinds in by_side.items()}
    for opening, by_side in CHANNEL_MESSAGES.items()
}


def output_window(opening: Message | None, announced: int) -> int:
    """Return the window of each output stream in bytes: what the client has `announced`, or less if its opening message
    asks for less. Both sides compute it, so it is not sent."""
    requested = opening.window if isinstance(opening, RunRequest | Attach) else None
    return announced if requested is None else min(requested, announced)


class Channel:
    """The state of one channel, seen from `side`."""

    __slots__ = ("_legal", "_sent_once", "_started", "finished", "number", "peer_finished", "receives", "sends", "side")

    def __init__(
        self, number: int, opening: Message | None, side: Side, *, send_window: int, receive_window: int
    ) -> None:
        by_side = open_streams(opening)
        self.number = number
        self.side = side
        if side is Side.SERVER:
            send_window = output_window(opening, send_window)
        else:
            receive_window = output_window(opening, receive_window)
        self.sends = {stream: SendWindow(send_window, offset) for stream, offset in by_side[side].items()}
        self.receives = {stream: ReceiveWindow(receive_window, offset) for stream, offset in by_side[side.peer].items()}
        self.finished = False
        self.peer_finished = False
        self._legal = legal_messages(opening)
        self._sent_once: frozenset[type[Message]] = frozenset()
        self._started = Started not in self._legal[Side.SERVER]

    def message_sent(self, message: Message) -> None:
        """Record a message from this side, which the caller must then send.

        Raises `LocalProtocolError` if the message is not legal now.
        """
        if self.finished:
            raise LocalProtocolError(f"channel {self.number}: {message.type} after the final message")
        if not self._may_send(self.side, type(message)):
            raise LocalProtocolError(f"channel {self.number}: the {self.side} may not send {message.type} now")
        if isinstance(message, End | GapNotice):
            window = self.sends.get(message.stream)
            if window is None:
                raise LocalProtocolError(f"channel {self.number}: {message.stream} is not open for the {self.side}")
            if isinstance(message, GapNotice):
                window.skip(message.offset, message.bytes)
            else:
                del self.sends[message.stream]
        self._record(type(message))
        self.finished = type(message) in FINAL_MESSAGES[self.side]

    def message_received(self, message: Message) -> None:
        """Record a message from the peer.

        Raises `RemoteProtocolError` if the message is not legal now; the connection must then end.
        """
        if self.peer_finished or not self._may_send(self.side.peer, type(message)):
            raise RemoteProtocolError(
                ErrorCode.NOT_LEGAL,
                f"channel {self.number}: the {self.side.peer} may not send {message.type} now",
            )
        if isinstance(message, Credit):
            if message.stream in self.sends:
                self.sends[message.stream].grant(message.bytes)
        elif isinstance(message, GapNotice):
            self.receive_window(message.stream).skip(message.offset, message.bytes)
        elif isinstance(message, End):
            self.receive_window(message.stream)
            del self.receives[message.stream]
        self._record(type(message))
        if type(message) in FINAL_MESSAGES[self.side.peer]:
            self.peer_finished = True
            self.receives.clear()

    def send_window(self, stream: Stream) -> SendWindow | None:
        """Return the window of `stream` if this side may send on it now, else None."""
        return None if self.finished or self.before_started else self.sends.get(stream)

    def receive_window(self, stream: Stream) -> ReceiveWindow:
        """Return the window of an open incoming stream.

        Raises `RemoteProtocolError` if no data may arrive on the stream now.
        """
        window = self.receives.get(stream)
        if window is None:
            raise RemoteProtocolError(
                ErrorCode.DATA_AFTER_END, f"channel {self.number}: {stream} has ended or was never requested"
            )
        if not self._started and self.side is Side.CLIENT:
            raise RemoteProtocolError(ErrorCode.NOT_LEGAL, f"channel {self.number}: {stream} before started")
        return window

    @property
    def before_started(self) -> bool:
        """Whether this side is the service and must send `started`, or its final message, before anything else."""
        return not self._started and self.side is Side.SERVER

    @property
    def closed(self) -> bool:
        """Whether both sides have sent their final message. The connection must then forget the channel."""
        return self.finished and self.peer_finished

    def _may_send(self, sender: Side, kind: type[Message]) -> bool:
        if sender is Side.CLIENT:
            return kind in self._legal[sender]
        if kind in LEGAL_AFTER_CLOSE and (self.finished if self.side is Side.CLIENT else self.peer_finished):
            return True
        return (
            kind in self._legal[sender]
            and (self._started or kind in LEGAL_BEFORE_STARTED)
            and kind not in self._sent_once
        )

    def _record(self, kind: type[Message]) -> None:
        if kind in AT_MOST_ONCE:
            self._sent_once |= {kind}
            self._started = True
