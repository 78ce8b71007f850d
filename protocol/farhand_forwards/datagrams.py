"""Datagrams (UDP) over flows: each `DATA` is one datagram."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from farhand_protocol.limits import KiB

from .ends import FlowSide
from .windows import DATAGRAM_COST
from .wire import MIN_FLOW_WINDOW

DATAGRAM_BATCH: Final = 64
"""Datagrams read from a socket before others have their turn: about a millisecond's work."""

MAX_RECEIVED_DATAGRAM: Final = 64 * KiB
"""Bytes: larger than any datagram."""

MAX_EARLY_DATAGRAMS: Final = 64
"""Datagrams of a new peer that are stored until the other side has accepted its flow; further ones are dropped."""

MAX_EARLY_SIZE: Final = MIN_FLOW_WINDOW
"""Credit that these datagrams may need: what every flow has when it begins. So a listener with the most peers stores
128 MiB, however long the other side does not answer, in an outage for instance."""


class DatagramEnd:
    """The end of a datagram flow that is a connected UDP socket. Owns and closes the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._flow: FlowSide | None = None
        self.done: Final[asyncio.Future[None]] = self._loop.create_future()
        sock.setblocking(False)

    def start(self, flow: FlowSide) -> None:
        """Begin to read."""
        self._flow = flow
        if not self.done.done():
            self._loop.add_reader(self._sock.fileno(), self._readable, flow)

    def _readable(self, flow: FlowSide) -> None:
        for _ in range(DATAGRAM_BATCH):
            try:
                data = self._sock.recv(MAX_RECEIVED_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # nobody listens at the target now (ICMP), perhaps later
            flow.send_datagram(data)

    def received(self, data: bytes | memoryview) -> None:
        try:  # noqa: SIM105  # `suppress` costs a microsecond, for each datagram
            self._sock.send(data)
        except OSError:
            pass  # dropped, as the network would: the queue is full, or nobody listens
        if self._flow is not None:
            self._flow.consumed(len(data))

    def eof_received(self) -> None:
        """Do nothing: datagrams have no end."""

    def turn(self, limit: int) -> None:
        """Do nothing: datagrams are sent as they arrive, or not at all."""

    def lost(self, error: Exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        if not self.done.done():
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self.done.set_result(None)


class DatagramPeer:
    """The end of a datagram flow that is one of those who send to a UDP listener: what the listener has accepted."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        """`send` is called with each datagram for this peer."""
        self._send = send
        self._flow: FlowSide | None = None
        self._early: list[bytes] = []
        self._early_left = MAX_EARLY_SIZE
        self.done: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()

    def start(self, flow: FlowSide) -> None:
        """Send what has come from the peer, and what will."""
        self._flow = flow
        early, self._early = self._early, []
        for data in early:
            flow.send_datagram(data)

    def came(self, data: bytes) -> bool:
        """A datagram has come from the peer; return False if it was dropped."""
        if self._flow is not None:
            return self._flow.send_datagram(data)
        cost = len(data) + DATAGRAM_COST
        if len(self._early) >= MAX_EARLY_DATAGRAMS or cost > self._early_left or self.done.done():
            return False
        self._early_left -= cost
        self._early.append(data)
        return True

    def received(self, data: bytes | memoryview) -> None:
        self._send(bytes(data))
        if self._flow is not None:
            self._flow.consumed(len(data))

    def eof_received(self) -> None:
        """Do nothing: datagrams have no end."""

    def turn(self, limit: int) -> None:
        """Do nothing: datagrams are sent as they come, or not at all."""

    def lost(self, error: Exception) -> None:
        self.close()

    def close(self) -> None:
        """Forget the peer."""
        self._early.clear()
        if not self.done.done():
            self.done.set_result(None)
