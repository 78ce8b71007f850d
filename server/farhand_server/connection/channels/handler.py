"""The interface between a session and the handlers of its channels, and a base for those that answer one question."""

from __future__ import annotations

from typing import Final, Protocol

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.errors import ErrorCode
from farhand_protocol.limits import KiB
from farhand_protocol.outcome import Outcome
from farhand_server.runs.plan import RunResult

MAX_ANSWER_SIZE: Final = 64 * KiB
"""Bytes of one message of a long answer, for clients that accept more: those of a data frame, so that nothing waits
longer behind it."""


class ChannelHandler(Protocol):
    """Serves one channel. Its session calls the methods; none of them may block."""

    scheduled: bool
    """Whether it is waiting for its turn to send. Maintained by the session."""

    @property
    def number(self) -> int:
        """The channel's number."""

    def begin(self) -> None:
        """Send what can be sent already. Called once, after the session has added the handler."""

    def send_some(self) -> bool:
        """Queue at most a few frames; return True if there is more to send now."""

    def received(self, message: m.AnyMessage) -> None:
        """Act on a message that the state tables allow on this channel."""

    def received_data(self, data: bytes) -> None:
        """Act on data that the state tables allow on this channel."""

    def closed(self) -> None:
        """The client has closed the channel, after receiving the last message sent on it."""

    def lost(self) -> None:
        """The connection is lost or the channel has failed: send nothing more."""


class ChannelOutlet(Protocol):
    """What a handler needs of its session."""

    @property
    def connection(self) -> Connection:
        """The connection that carries the channel."""

    def flush_soon(self) -> None:
        """Send what is queued at the end of this turn of the loop."""

    def schedule(self, channel: ChannelHandler, *, awaited: bool = False) -> None:
        """Call `send_some` when there is room, in turn with the other channels.

        With `awaited`, for what a person who types is waiting for, that happens at once if nothing else is queued.
        """

    def forget(self, channel: ChannelHandler) -> None:
        """Remove a channel on which the last message was sent; `closed` or `lost` is still called, once."""


class QueryChannel:
    """Base of the handlers that answer one question. The client sends nothing more on such a channel, except `close`.

    It is a `ChannelHandler`, and for those that watch a run a `Watcher`, with nothing to do in most methods.
    """

    def __init__(self, outlet: ChannelOutlet, number: int) -> None:
        self.scheduled = False
        self._outlet = outlet
        self._number = number
        self._over = False

    def answer(self, last: m.Message) -> None:
        """Send the last message, unless one was sent before."""
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
        """Send nothing yet."""

    def send_some(self) -> bool:
        return False

    def received(self, message: m.AnyMessage) -> None:
        """Answer the `close`, the only message that is legal here."""
        self.answer(m.Done())

    def received_data(self, data: bytes) -> None:
        """Never called: such a channel has no streams."""

    def closed(self) -> None:
        """Do nothing: the answer was sent before."""

    def lost(self) -> None:
        self.finish()

    # Watcher

    def started(self) -> None:
        """Do nothing: the program runs."""

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
