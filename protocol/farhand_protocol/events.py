"""What a connection reports about what it has received: `Connection.receive_data` yields these."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from . import messages as m
from .errors import ErrorCode, RemoteProtocolError
from .limits import Limits


class MessageReceived(NamedTuple):
    """A legal message arrived. If it opens a new channel, that channel is now open."""

    channel: int
    message: m.AnyMessage


class DataReceived(NamedTuple):
    """Bytes of a stream arrived. Call `Connection.acknowledge` once they have been consumed, to return their credit."""

    channel: int
    stream: m.Stream
    data: bytes


class LargeMessage:
    """A message arrived that may take long to decode. Its `MessageReceived`, or what is wrong with it, follows.

    A caller that cannot wait calls `decode` in another thread before taking the next event, which otherwise waits for
    it.
    """

    __slots__ = ("_decoded", "_limits", "_refusal", "payload")

    def __init__(self, payload: bytes, limits: Limits) -> None:
        self.payload: Final = payload
        self._limits = limits
        self._decoded: m.AnyMessage | None = None
        # Not the exception: the frames of its traceback would keep the payload.
        self._refusal: tuple[ErrorCode, str] | None = None

    def decode(self) -> None:
        """Decode the message, and compute what its receiver will need of it."""
        try:
            self._decoded = m.decode(self.payload, self._limits)
            if isinstance(self._decoded, m.RunRequest):
                _ = self._decoded.fingerprint, self._decoded.command_line
        except RemoteProtocolError as error:
            self._refusal = error.code, error.reason

    def message(self) -> m.AnyMessage:
        """Return the message. Raises `RemoteProtocolError`."""
        if self._decoded is None and self._refusal is None:
            self.decode()
        if self._refusal is not None:
            raise RemoteProtocolError(*self._refusal)
        assert self._decoded is not None
        return self._decoded


class ChannelFailed(NamedTuple):
    """A message on this channel could not be understood. An `error` for it is queued; other channels are unaffected."""

    channel: int
    error: RemoteProtocolError


class ConnectionFailed(NamedTuple):
    """The peer broke the protocol. An `error` is queued: send `data_to_send()`, then close the transport."""

    error: RemoteProtocolError


Event: TypeAlias = MessageReceived | DataReceived | ChannelFailed | ConnectionFailed
