"""Single connections through a client's tunnel: as asyncio's streams, or as a socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from farhand_forwards.flow import Flow
from farhand_forwards.relay import reset_socket
from farhand_forwards.targets import ForwardTarget

from .client_tunnel import typed
from .sockets import connected_pair

if TYPE_CHECKING:
    from .client_tunnel import ClientTunnel


async def open_streams(
    tunnel: ClientTunnel, target: ForwardTarget, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `target`. Raises as `Client.open_connection`."""
    flow = await _open(tunnel, target)
    reader = asyncio.StreamReader(limit=limit)
    protocol = _FlowStreams(reader)
    return reader, asyncio.StreamWriter(flow.transport(protocol), protocol, reader, asyncio.get_running_loop())


async def open_socket(tunnel: ClientTunnel, target: ForwardTarget) -> socket.socket:
    """Connect to `target`. Raises as `Client.open_socket`."""
    flow = await _open(tunnel, target)
    try:
        given, kept = await connected_pair()
    except BaseException:
        flow.reset()
        raise

    def ended(task: asyncio.Task[None]) -> None:
        flow.reset()  # unless it has ended; a task that is cancelled at once never begins
        reset_socket(kept)

    tunnel.spawn(_relay(flow, kept)).add_done_callback(ended)
    return given


async def _open(tunnel: ClientTunnel, target: ForwardTarget) -> Flow:
    tunnel.connection.check_home()
    return await tunnel.open(target, "", f"-W {target}")


async def _relay(flow: Flow, sock: socket.socket) -> None:
    with contextlib.suppress(Exception):  # the socket was reset
        await flow.relay(sock)


class _FlowStreams(asyncio.StreamReaderProtocol):
    """The protocol of asyncio's streams, whose reader gets errors of this package."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None if exc is None else typed(exc))
