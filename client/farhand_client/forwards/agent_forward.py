"""A socket on the service's machine that leads to the ssh-agent here."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from farhand_client.errors import ForwardError
from farhand_forwards.targets import ForwardRefused, UnixTarget

from .agent import ForwardedAgent

if TYPE_CHECKING:
    from farhand_forwards.flow import Flow

    from .client_tunnel import ClientTunnel, Listening

AGENT_PURPOSE: Final = "-A"
"""What listings of runs say about a tunnel that begins with it."""


class AgentForward:
    """The agent at a Unix socket here, for programs of the user there, until it is closed.

    The service's forward worker makes the socket in a new directory that only the user can enter. Once that worker is
    lost, programs find no agent any longer.
    """

    def __init__(self, tunnel: ClientTunnel, agent: ForwardedAgent) -> None:
        self._tunnel = tunnel
        self._agent = agent
        self._held = ExitStack()
        self._listening: Listening | None = None

    @classmethod
    async def begin(cls, tunnel: ClientTunnel, agent: str) -> Self:
        """Listen there, and forward to the agent at the path `agent`. Raises `ForwardError`, also if that agent cannot
        be reached, and as `Client.forward_remote`."""
        forwarded = ForwardedAgent(agent)
        try:
            (await forwarded.connect()).close()
        except ForwardRefused as error:
            raise ForwardError(error.cause, f"-A: {error}") from None
        self = cls(tunnel, forwarded)
        self._held.enter_context(self._tunnel.use())
        try:
            self._listening = await self._tunnel.listen(UnixTarget(b""), self._accepted, AGENT_PURPOSE)
        except BaseException:
            self._held.close()
            raise
        return self

    @property
    def path(self) -> str:
        """The path of the socket there."""
        assert self._listening is not None
        address = self._listening.listener.address
        assert isinstance(address, UnixTarget)
        return os.fsdecode(address.path)

    async def close(self) -> None:
        """Listen no more. Safe to call again."""
        listening, self._listening = self._listening, None
        try:
            if listening is not None:
                await listening.listener.close()
        finally:
            self._held.close()

    async def _accepted(self, flow: Flow, origin: str) -> None:
        try:
            connection = await self._agent.connect()
        except ForwardRefused:
            flow.reset()  # as if no agent were there, which is so
            return
        await flow.relay(connection)
