"""What a flow and the two things that may be at its near end know of each other."""

from __future__ import annotations

from typing import Protocol


class FlowEnd(Protocol):
    """Where a flow's bytes go to and come from: a socket, or a transport of asyncio. The loop calls its methods; they
    must not block."""

    def received(self, data: bytes | memoryview) -> None:
        """Take bytes, or one datagram. A view is valid during the call only. `FlowSide.consumed` must follow, now or
        later."""

    def eof_received(self) -> None:
        """Nothing more will be received."""

    def lost(self, error: Exception) -> None:
        """The flow is over before its time: nothing can be sent or received any more."""

    def turn(self, limit: int) -> None:
        """Send now what there is, once, at most `limit` bytes: with `FlowSide.send` or `send_eof`."""


class FlowSide(Protocol):
    """What an end may do with its flow. After `lost` every method does nothing."""

    def want_turn(self) -> None:
        """Have `FlowEnd.turn` called once there is credit and it is this flow's turn."""

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes of a stream; only during `FlowEnd.turn`, and at most its `limit`."""

    def send_datagram(self, data: bytes) -> bool:
        """Send a datagram; return False if it was dropped."""

    def send_eof(self) -> None:
        """Send nothing more."""

    def consumed(self, count: int) -> None:
        """Let the other side send so much more."""

    def reset(self) -> None:
        """Give up the flow: the other side's connection is reset."""
