"""The agent here is reached through a socket there, and never without a binding."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from farhand_client.errors import ForwardError
from farhand_client.forwards.agent import ForwardedAgent
from farhand_client.forwards.agent_forward import AgentForward
from farhand_forwards.targets import ForwardRefused, ForwardTarget, UnixTarget

THERE = UnixTarget(b"/tmp/farhand-1/socket")


class FakeTunnel:
    """Listens nowhere, and records how it is used."""

    def __init__(self) -> None:
        self.uses = 0
        self.where: ForwardTarget | None = None
        self.closed = False
        self.refuses: Exception | None = None
        self.accepted: Any = None
        self.address = THERE
        self.listener = self

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        self.uses += 1
        try:
            yield
        finally:
            self.uses -= 1

    async def listen(self, where: ForwardTarget, accepted: Any, purpose: str) -> FakeTunnel:
        if self.refuses is not None:
            raise self.refuses
        self.where, self.accepted = where, accepted
        return self

    async def close(self) -> None:
        self.closed = True


class FakeFlow:
    """A flow that records what it was joined to."""

    def __init__(self) -> None:
        self.joined: socket.socket | None = None
        self.was_reset = False

    async def relay(self, connected: socket.socket) -> None:
        self.joined = connected

    def reset(self) -> None:
        self.was_reset = True


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> list[ForwardRefused | None]:
    """What the agent says to each connection; None accepts it."""
    answers: list[ForwardRefused | None] = []

    async def connect(self: ForwardedAgent) -> socket.socket:
        if (refused := answers.pop(0)) is not None:
            raise refused
        return socket.socket(socket.AF_UNIX)

    monkeypatch.setattr(ForwardedAgent, "connect", connect)
    return answers


async def test_connections_there_are_joined_to_the_agent(agent: list[ForwardRefused | None], tmp_path: Path) -> None:
    agent[:] = [None, None, ForwardRefused("failed", "gone")]
    tunnel = FakeTunnel()
    forward = await AgentForward.begin(cast(Any, tunnel), str(tmp_path / "agent"))
    assert (tunnel.where, tunnel.uses, forward.path) == (UnixTarget(b""), 1, "/tmp/farhand-1/socket")
    joined, refused = FakeFlow(), FakeFlow()
    await tunnel.accepted(joined, "")
    await tunnel.accepted(refused, "")
    assert joined.joined is not None
    joined.joined.close()
    assert (joined.was_reset, refused.was_reset) == (False, True)
    for _ in range(2):
        await forward.close()
    assert (tunnel.closed, tunnel.uses) == (True, 0)


async def test_an_agent_that_is_not_there_is_not_forwarded(agent: list[ForwardRefused | None]) -> None:
    agent.append(ForwardRefused("failed", "cannot reach the ssh-agent at /x"))
    tunnel = FakeTunnel()
    with pytest.raises(ForwardError, match="-A: cannot reach the ssh-agent at /x"):
        await AgentForward.begin(cast(Any, tunnel), "/x")
    assert tunnel.where is None


async def test_a_tunnel_is_not_held_for_what_it_refuses(agent: list[ForwardRefused | None]) -> None:
    agent.append(None)
    tunnel = FakeTunnel()
    tunnel.refuses = ForwardError("denied", "the policy does not allow it")
    with pytest.raises(ForwardError, match="the policy"):
        await AgentForward.begin(cast(Any, tunnel), "/x")
    assert tunnel.uses == 0
    await asyncio.sleep(0)
