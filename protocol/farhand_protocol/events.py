"""What a `Connection` tells its owner, in the order it happened."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .errors import RemoteProtocolError
from .messages import AnyMessage, Stream


class MessageReceived(NamedTuple):
    """A legal message came. A client's opening message on a new channel has opened that channel."""

    channel: int
    message: AnyMessage


class DataReceived(NamedTuple):
    """Bytes of a stream came; give their credit back with `Connection.take` once they are consumed."""

    channel: int
    stream: Stream
    data: bytes


class ChannelFailed(NamedTuple):
    """A message on this channel could not be understood; the peer has been told, and others go on."""

    channel: int
    error: RemoteProtocolError


class ConnectionFailed(NamedTuple):
    """The peer broke the protocol; it has been told: send what there is, then close."""

    error: RemoteProtocolError


Event: TypeAlias = MessageReceived | DataReceived | ChannelFailed | ConnectionFailed
