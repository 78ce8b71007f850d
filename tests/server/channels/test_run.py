"""A run's channel says nothing after its last, whatever its run still does."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from farhand_protocol import messages as m
from farhand_protocol.connection import Connection
from farhand_protocol.frames import Kind, encode_frame
from farhand_protocol.states import Side
from farhand_server.channels.run import RunChannel
from farhand_server.runs.run import Plan, Run
from tests.support.client import new_id

LIMITS = Connection(Side.CLIENT).announced


class Outlet:
    """A session that has one channel and sends when the test says so."""

    def __init__(self, request: m.Run) -> None:
        self.connection = Connection(Side.SERVER)
        self._receive(0, m.Hello(versions=(1,), software="test", limits=LIMITS, nonce=bytes(32)))
        self.connection.send(
            0, m.Welcome(version=1, software="test", limits=self.connection.announced, login=False, nonce=bytes(32))
        )
        self.connection.send(0, m.Accepted(user="ada", host="here"))
        self._receive(1, request)

    def _receive(self, channel: int, message: m.Message) -> None:
        for _ in self.connection.receive_data(encode_frame(Kind.MESSAGE, channel, m.encode(message))):
            pass

    def spoil(self) -> None:
        """Let a message come that cannot be understood."""
        for _ in self.connection.receive_data(encode_frame(Kind.MESSAGE, 1, b"{}")):
            pass

    def flush_soon(self) -> None:
        """Outlet."""

    def schedule(self, channel: RunChannel) -> None:
        """Outlet."""
        channel.scheduled = True

    def forget(self, channel: RunChannel) -> None:
        """Outlet."""


def fail_by_the_client(outlet: Outlet, channel: RunChannel) -> None:
    """A message could not be understood."""
    outlet.spoil()
    channel.lost()


def fail_by_the_service(outlet: Outlet, channel: RunChannel) -> None:
    """The service was at fault."""
    channel.failed()


@pytest.mark.parametrize("fail", [fail_by_the_client, fail_by_the_service])
async def test_an_end_that_waits_for_its_turn_is_not_said_after_the_channel_has_failed(
    fail: Callable[[Outlet, RunChannel], None],
) -> None:
    request = m.Run(id=new_id(), argv=(b"true",))
    outlet = Outlet(request)
    channel = RunChannel(outlet, 1, request)
    run = Run(
        Plan(request.id, "ada", (b"true",), b"/", dict(os.environb), False, False, None, 1.0, 1.0, 65536), channel
    )
    channel.attach(run)
    run.stdout.finish()
    fail(outlet, channel)
    queued = outlet.connection.queued
    assert not channel.send_some()
    assert outlet.connection.queued == queued
