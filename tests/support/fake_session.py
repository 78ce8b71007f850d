"""A session without a socket: handlers send through a real connection, and `received` is what the client gets."""

from __future__ import annotations

import asyncio
from collections import deque

from farhand_protocol import messages as m
from farhand_protocol.connection import DEFAULT_LIMITS, Connection
from farhand_protocol.events import MessageReceived
from farhand_protocol.limits import Limits
from farhand_protocol.states import Side
from farhand_server.connection.channels.handler import ChannelHandler, ReceivingChannel


class FakeSession:
    """A `ChannelOutlet` and the client at the peer's end, which has these limits and features."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, features: tuple[str, ...] = ()) -> None:
        self.connection = Connection(Side.SERVER)
        self.client = Connection(Side.CLIENT, limits)
        self.waiting: deque[ChannelHandler] = deque()
        """Handlers that have something to send."""
        self.holding: set[ReceivingChannel] = set()
        self.forgotten: list[ChannelHandler] = []
        self.received: dict[int, list[m.AnyMessage]] = {}
        self._changed = asyncio.Event()
        client, server = self.client, self.connection
        hello = m.Hello(
            versions=(1,), software="test", features=features, limits=client.announced_limits, nonce=bytes(32)
        )
        client.send(0, hello)
        self._deliver(client, server)
        server.send(
            0, m.Welcome(version=1, software="test", limits=server.announced_limits, login=False, nonce=bytes(32))
        )
        server.send(0, m.Accepted(user="ada", host="here"))
        self.flush_soon()

    def open(self, opening: m.Message) -> int:
        """Let the client open a channel; return its number."""
        number = self.client.open(opening)
        self._deliver(self.client, self.connection)
        return number

    def close(self, number: int) -> None:
        """Let the client close a channel."""
        self.client.send(number, m.Close())
        self._deliver(self.client, self.connection)

    def turn(self) -> None:
        """Let the first waiting handler send something."""
        channel = self.waiting.popleft()
        channel.scheduled = False
        if channel.send_some():
            self.schedule(channel)
        self.flush_soon()

    def all_turns(self) -> None:
        """Let all handlers send everything."""
        while self.waiting:
            self.turn()

    async def last(self, number: int) -> m.AnyMessage:
        """Wait for the service's last message on a channel."""
        async with asyncio.timeout(20):
            while not (messages := self.received.get(number, [])) or isinstance(messages[-1], m.Runs):
                self._changed.clear()
                await self._changed.wait()
        return messages[-1]

    # ChannelOutlet

    def flush_soon(self) -> None:
        for event in self.client.receive_data(b"".join(self.connection.data_to_send())):
            assert isinstance(event, MessageReceived), event
            self.received.setdefault(event.channel, []).append(event.message)
        self._changed.set()

    def schedule(self, channel: ChannelHandler, *, awaited: bool = False) -> None:
        channel.scheduled = True
        self.waiting.append(channel)

    def hold(self, channel: ReceivingChannel) -> None:
        self.holding.add(channel)

    def release(self, channel: ReceivingChannel) -> None:
        self.holding.discard(channel)

    def forget(self, channel: ChannelHandler) -> None:
        self.forgotten.append(channel)

    @staticmethod
    def _deliver(sender: Connection, receiver: Connection) -> None:
        for _ in receiver.receive_data(b"".join(sender.data_to_send())):
            pass
