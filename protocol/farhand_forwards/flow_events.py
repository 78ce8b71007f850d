"""What `mux.Mux` reports about flows and listeners."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from .targets import ForwardCause, ForwardTarget
from .wire import Opening


class FlowAsked(NamedTuple):
    """The other side wants to open a flow; call `accept` or `refuse`."""

    flow: int
    opening: Opening
    datagrams: bool


class FlowAccepted(NamedTuple):
    """The other side has accepted a flow; `address` is what it has connected to."""

    flow: int
    address: ForwardTarget | None


class FlowRefused(NamedTuple):
    """The other side has refused a flow or a listener. It is over."""

    flow: int
    cause: ForwardCause
    message: str


class FlowData(NamedTuple):
    """Bytes of a stream, or one datagram; call `consumed` once they are processed."""

    flow: int
    data: bytes | memoryview


class FlowEof(NamedTuple):
    """Nothing more will be received on this flow."""

    flow: int


class FlowReset(NamedTuple):
    """The other side has given up a flow, or its listener. It is over."""

    flow: int


class ListenAsked(NamedTuple):
    """The other side wants this one to listen; call `listening` or `refuse`."""

    listener: int
    where: ForwardTarget


class ListenStarted(NamedTuple):
    """The other side listens at `where`."""

    listener: int
    where: ForwardTarget


MuxEvent: TypeAlias = (
    FlowAsked | FlowAccepted | FlowRefused | FlowData | FlowEof | FlowReset | ListenAsked | ListenStarted
)
