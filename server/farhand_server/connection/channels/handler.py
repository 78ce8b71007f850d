"""The interface between a session and its channel handlers, and a base for handlers that answer one query."""

from __future__ import annotations

from typing import Final, Protocol

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB
from farhand_protocol.outcome import Outcome
from farhand_server.runs.plan import RunResult

MAX_ANSWER_SIZE: Final = 64 * KiB
"""Largest message of a long answer in bytes, even if the client accepts more. It is the size of a data frame, so that
nothing waits behind it longer than behind data."""


class ChannelHandler(Protocol):
    """Serves one channel. The session calls the methods; they must not block."""

    scheduled: bool
    """Whether the handler is waiting for its turn to send. The session maintains this."""

    @property
    def number(self) -> int:
        """The channel's number."""

    def begin(self) -> None:
        """Send whatever can be sent right away. Called once, after the session has added the handler."""

    def send_some(self) -> bool:
        """Queue at most a few frames; return True if there is more to send now."""

    def received(self, message: m.AnyMessage) -> None:
        """Act on a message that the state tables allow on this channel."""

    def received_data(self, data: bytes) -> None:
        """Act on data that the state tables allow on this channel."""

    def closed(self) -> None:
        """Handle that the client has closed the channel, after receiving the final message on it."""

    def lost(self) -> None:
        """Handle a lost connection or a failed channel: send nothing more."""


class ReceivingChannel(Protocol):
    """A channel on which a client sends more than messages."""

    @property
    def overfull(self) -> bool:
        """Whether there is no memory for more of what the channel receives."""


class ChannelOutlet(Protocol):
    """What a handler needs from its session."""

    @property
    def connection(self) -> Connection:
        """The connection that carries the channel."""

    def flush_soon(self) -> None:
        """At the end of this turn of the loop, send what is queued."""

    def schedule(self, channel: ChannelHandler, *, awaited: bool = False) -> None:
        """Arrange a call of `send_some`, once there is room, in turn with the other channels.

        With `awaited`, for output that somebody typing is waiting for, the call happens at once if nothing else is
        queued.
        """

    def hold(self, channel: ReceivingChannel) -> None:
        """Receive nothing more on the connection until `release`, because what the channel has received is not taken
        and there is no memory for more."""

    def release(self, channel: ReceivingChannel) -> None:
        """Receive again, unless another channel holds the connection."""

    def forget(self, channel: ChannelHandler) -> None:
        """Remove a channel on which the final message was sent. Its `closed` or `lost` is still called, once."""


class QueryChannel:
    """Base of the handlers that answer one query. On such a channel the client sends nothing more except `close`.

    It implements `ChannelHandler`, and `Watcher` for subclasses that watch a run. Most methods do nothing.
    """

    def __init__(self, outlet: ChannelOutlet, number: int) -> None:
        self.scheduled = False
        self._outlet = outlet
        self._number = number
        self._over = False

    def answer(self, last: m.Message) -> None:
        """Send the final message, unless one was already sent."""
        if not self._over:
            self.finish()
            self._outlet.connection.send(self._number, last)
            self._outlet.flush_soon()
            self._outlet.forget(self)

    def finish(self) -> None:
        """Release everything; nothing more is sent."""
        self._over = True

    # ChannelHandler

    @property
    def number(self) -> int:
        return self._number

    def begin(self) -> None:
        """Do nothing: there is nothing to send yet."""

    def send_some(self) -> bool:
        return False

    def received(self, message: m.AnyMessage) -> None:
        """Answer `close`, the only message that is legal here."""
        self.answer(m.Done())

    def received_data(self, data: bytes) -> None:
        """Never called: such a channel has no streams."""

    def closed(self) -> None:
        """Do nothing: the answer has already been sent."""

    def lost(self) -> None:
        self.finish()

    # Watcher

    def started(self) -> None:
        """Do nothing: the program has started."""

    def stdin_taken(self) -> None:
        """Do nothing: the program has read input."""

    def exited(self, outcome: Outcome) -> None:
        """Do nothing: the program has exited, and its output goes on."""

    def ended(self, result: RunResult) -> None:
        """Do nothing: the run has ended."""

    def failed(self, code: ErrorCode, sentence: str) -> None:
        self.answer(m.Error(code=code, message=sentence))

    def replaced(self) -> None:
        """Never called: only attachments are replaced."""
