"""The order in which the channels of one connection send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from farhand_protocol.loop_time import LoopTime, OwnTime
from farhand_protocol.transport import ConnectionTransport

from .channels.handler import ChannelHandler


class SendTurns:
    """The channels that have something to send, in order. `failed` is called with any exception that one of them
    raises."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self.transport: ConnectionTransport | None = None
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self.loop_time: LoopTime = OwnTime(self._loop.call_soon)
        """For how long they may send. This matters for lists, which are read from disk; output fills the connection
        sooner."""
        self._ready: list[ChannelHandler] = []  # an empty deque takes 620 bytes, and most connections are idle

    def add(self, channel: ChannelHandler, *, awaited: bool) -> None:
        """Append the channel. If somebody is waiting for its data (`awaited`) and nothing else is being sent, let it
        send at once."""
        channel.scheduled = True
        self._ready.append(channel)
        if len(self._ready) > 1:
            return
        if awaited and self.transport is not None and self.transport.quiet:
            self.send()
        else:
            self._loop.call_soon(self.send)

    def send(self) -> None:
        """Let the channels send, one after another, while the transport has room and the user has time."""
        transport = self.transport
        if transport is None:
            return
        began = self._clock()
        try:
            self._send_until(transport, began, began + self.loop_time.left())
        finally:
            self.loop_time.spend(self._clock() - began)
        transport.flush()

    def _send_until(self, transport: ConnectionTransport, now: float, until: float) -> None:
        while self._ready and transport.room:
            if now > until:
                self.loop_time.wait(self.send)
                break
            channel = self._ready.pop(0)
            channel.scheduled = False
            try:
                more = channel.send_some()
            except Exception as error:  # noqa: BLE001  # a bug ends this connection with an error; other connections continue
                self._failed(error)
                return
            if more and not channel.scheduled:
                channel.scheduled = True
                self._ready.append(channel)
            if self._ready:
                now = self._clock()

    def clear(self) -> None:
        """Remove all channels."""
        self._ready.clear()
