"""The channels of a connection send in turn, and do not delay those of other connections."""

from __future__ import annotations

import asyncio
from typing import cast

from farhand_protocol import messages as m
from farhand_protocol.loop_time import MAX_TURN_TIME
from farhand_protocol.transport import ConnectionTransport
from farhand_server.connection.turns import SendTurns
from tests.support.clock import VirtualClockLoop, virtual_time


class Transport:
    """The part of a transport that turns need, with room for `room` more turns."""

    def __init__(self, room: int = 1000, *, quiet: bool = False) -> None:
        self.left = room
        self.quiet = quiet
        self.flushed = 0

    @property
    def room(self) -> bool:
        return self.left > 0

    def flush(self) -> None:
        self.flushed += 1


class Sender:
    """A handler that sends `count` times, each time for `seconds`."""

    def __init__(self, name: str, sent: list[str], transport: Transport, count: int, *, fails: bool = False) -> None:
        self.scheduled = False
        self.number = 1
        self._name, self._sent, self._transport, self._count, self._fails = name, sent, transport, count, fails

    def send_some(self) -> bool:
        if self._fails:
            raise RuntimeError("a bug")
        self._sent.append(self._name)
        self._transport.left -= 1
        self._count -= 1
        return self._count > 0

    def begin(self) -> None:
        """Not called here."""

    def received(self, message: m.AnyMessage) -> None:
        """Not called here."""

    def received_data(self, data: bytes) -> None:
        """Not called here."""

    def closed(self) -> None:
        """Not called here."""

    def lost(self) -> None:
        """Not called here."""


class Turns:
    """Turns with senders `a`, `b` … and what they have sent."""

    def __init__(self, transport: Transport) -> None:
        self.sent: list[str] = []
        self.failures: list[Exception] = []
        self.transport = transport
        self.turns = SendTurns(self.failures.append)
        self.turns.transport = cast(ConnectionTransport, transport)

    def add(self, name: str, count: int = 1, *, awaited: bool = False, fails: bool = False) -> Sender:
        sender = Sender(name, self.sent, self.transport, count, fails=fails)
        self.turns.add(sender, awaited=awaited)
        return sender


@virtual_time
async def test_channels_send_one_after_another_in_the_next_loop_iteration() -> None:
    turns = Turns(Transport())
    senders = [turns.add("a", 3), turns.add("b", 2), turns.add("c")]
    assert turns.sent == []
    await asyncio.sleep(0)
    assert "".join(turns.sent) == "abcaba"
    assert turns.transport.flushed == 1
    assert not any(sender.scheduled for sender in senders)


@virtual_time
async def test_nothing_is_sent_without_room_and_the_order_is_kept() -> None:
    turns = Turns(Transport(room=3))
    turns.add("a", 3)
    turns.add("b", 3)
    await asyncio.sleep(0)
    assert "".join(turns.sent) == "aba"
    turns.transport.left = 1000
    turns.turns.send()
    assert "".join(turns.sent) == "abab" + "ab"


@virtual_time
async def test_awaited_output_is_sent_at_once_on_a_quiet_connection_with_nothing_else_to_send() -> None:
    turns = Turns(Transport(quiet=True))
    turns.add("a", awaited=True)
    assert turns.sent == ["a"]
    turns.add("b")
    turns.add("c", awaited=True)
    assert turns.sent == ["a"]
    await asyncio.sleep(0)
    assert turns.sent == ["a", "b", "c"]


@virtual_time
async def test_other_connections_have_their_turn_after_the_longest_turn() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    advance = loop.advance
    turns = Turns(Transport())
    others: list[int] = []

    class Slow(Sender):
        def send_some(self) -> bool:
            advance(MAX_TURN_TIME)
            return super().send_some()

    turns.turns.add(Slow("a", turns.sent, turns.transport, 4), awaited=False)
    loop.call_soon(lambda: others.append(len(turns.sent)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < others[0] < 4
    for _ in range(4):
        await asyncio.sleep(0)
    assert len(turns.sent) == 4


@virtual_time
async def test_a_bug_in_one_channel_is_reported_and_ends_the_turn() -> None:
    turns = Turns(Transport())
    turns.add("a", fails=True)
    turns.add("b")
    await asyncio.sleep(0)
    assert [str(failure) for failure in turns.failures] == ["a bug"]
    assert turns.sent == []


@virtual_time
async def test_nothing_is_sent_once_the_connection_is_closed_or_all_channels_are_removed() -> None:
    turns = Turns(Transport())
    turns.add("a")
    turns.turns.clear()
    await asyncio.sleep(0)
    assert turns.sent == []
    turns.add("b")
    turns.turns.transport = None
    await asyncio.sleep(0)
    assert turns.sent == []
