"""What a session and its channels need of each other, whatever message opened the channel."""

from __future__ import annotations

from typing import Protocol

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection


class ChannelHandler(Protocol):
    """One channel. The session calls its methods; none of them may block."""

    scheduled: bool
    """Whether it waits for its turn to send. Kept by the session."""

    @property
    def number(self) -> int:
        """The channel's."""

    def begin(self) -> None:
        """Say what there is to say already; the session knows the channel by now."""

    def send_some(self) -> bool:
        """Queue a little of what there is to send; True where more could go out now."""

    def received(self, message: m.AnyMessage) -> None:
        """Act on a message that the state tables allow on this channel."""

    def received_data(self, data: bytes) -> None:
        """Act on data that they allow."""

    def closed(self) -> None:
        """The client has said its last behind ours."""

    def lost(self) -> None:
        """The client's line is gone, or the channel has failed: say no more."""


class ChannelOutlet(Protocol):
    """What a channel needs of its session."""

    @property
    def connection(self) -> Connection:
        """The connection that carries the channel."""

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn of the loop."""

    def schedule(self, channel: ChannelHandler, *, awaited: bool = False) -> None:
        """Call `send_some` when there is room, in turn with the other channels. What is `awaited` by somebody who types
        does not wait for the next turn of the loop, unless other things do."""

    def forget(self, channel: ChannelHandler) -> None:
        """The channel has said its last; where the client has not, `lost` or `closed` is called once it has."""


class QueryChannel:
    """A channel on which the client asks and the service answers; the client says nothing but `close`."""

    def __init__(self, outlet: ChannelOutlet, number: int) -> None:
        self.scheduled = False
        self._outlet = outlet
        self._number = number
        self._over = False

    @property
    def number(self) -> int:
        """ChannelHandler."""
        return self._number

    def begin(self) -> None:
        """ChannelHandler."""

    def send_some(self) -> bool:
        """ChannelHandler."""
        return False

    def received(self, message: m.AnyMessage) -> None:
        """ChannelHandler. It can only be the `close`."""
        self.answer(m.Done())

    def received_data(self, data: bytes) -> None:
        """ChannelHandler. Such a channel has no streams."""

    def closed(self) -> None:
        """ChannelHandler."""

    def lost(self) -> None:
        """ChannelHandler."""
        self.finish()

    def finish(self) -> None:
        """Nothing more is said here: let go of everything."""
        self._over = True

    def answer(self, last: m.Message) -> None:
        """Say the last message, unless that was said before."""
        if not self._over:
            self.finish()
            self._outlet.connection.send(self._number, last)
            self._outlet.flush_soon()
            self._outlet.forget(self)
