"""One numbered conversation: which streams are open each way, with how much credit, and who has said its last."""

from __future__ import annotations

from typing import Final

from .errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from .frames import Kind
from .messages import Attach, Message, Run, Stream
from .states import CHANNEL, LAST, UNREADABLE, Side
from .window import ReceiveWindow, SendWindow

KIND_OF: Final[dict[Stream, Kind]] = {"stdin": Kind.STDIN, "stdout": Kind.STDOUT, "stderr": Kind.STDERR}
STREAM_OF: Final[dict[int, Stream]] = {kind: stream for stream, kind in KIND_OF.items()}


def streams(opening: Message | None) -> dict[Side, tuple[Stream, ...]]:
    """Return the streams each side sends on a channel opened by `opening`; none where it could not be understood."""
    match opening:
        case Run():
            outputs: tuple[Stream, ...] = ("stdout",) if opening.merge_stderr else ("stdout", "stderr")
            return {Side.CLIENT: ("stdin",) if opening.stdin else (), Side.SERVER: outputs}
        case Attach():
            wanted: dict[Stream, int | None] = {"stdout": opening.stdout, "stderr": opening.stderr}
            return {
                Side.CLIENT: ("stdin",) if opening.stdin is not None else (),
                Side.SERVER: tuple(stream for stream, offset in wanted.items() if offset is not None),
            }
        case _:
            return {Side.CLIENT: (), Side.SERVER: ()}


class Channel:
    """The state of one channel, seen from `side`. Changed only by its `Connection`."""

    __slots__ = ("finished", "legal", "number", "peer_finished", "receives", "sends", "side")

    def __init__(
        self, number: int, opening: Message | None, side: Side, *, send_window: int, receive_window: int
    ) -> None:
        by_side = streams(opening)
        self.number = number
        self.side = side
        self.legal = UNREADABLE if opening is None else CHANNEL[type(opening)]
        self.sends = {stream: SendWindow(send_window) for stream in by_side[side]}
        self.receives = {stream: ReceiveWindow(receive_window) for stream in by_side[side.peer]}
        self.finished = False
        self.peer_finished = False

    def sending(self, message: Message) -> None:
        """Book a message of this side; `LocalProtocolError` where it is not this side's to say now."""
        kind = type(message)
        if self.finished:
            raise LocalProtocolError(f"channel {self.number}: {message.type} after the last message")
        if kind not in self.legal[self.side]:
            raise LocalProtocolError(f"channel {self.number}: {message.type} is not the {self.side}'s to say")
        self.finished = kind in LAST[self.side]

    def receiving(self, message: Message) -> None:
        """Book a message of the peer; `RemoteProtocolError` where it is not the peer's to say."""
        kind = type(message)
        if kind not in self.legal[self.side.peer] or self.peer_finished:
            raise RemoteProtocolError(
                ErrorCode.NOT_LEGAL,
                f"channel {self.number}: the {self.side.peer} may not say {message.type} now",
            )
        if kind in LAST[self.side.peer]:
            self.peer_finished = True
            self.receives.clear()

    def receive_window(self, stream: Stream) -> ReceiveWindow:
        """Return the window of an open incoming stream; `RemoteProtocolError` where it has ended or never was."""
        window = self.receives.get(stream)
        if window is None:
            raise RemoteProtocolError(
                ErrorCode.DATA_AFTER_END, f"channel {self.number}: {stream} has ended or was never asked for"
            )
        return window

    @property
    def closed(self) -> bool:
        """Whether both sides have said their last."""
        return self.finished and self.peer_finished
