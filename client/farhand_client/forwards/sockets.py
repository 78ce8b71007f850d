"""A pair of connected sockets, one of which is for a library that wants to have a socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

MAX_STRANGERS: Final = 16
"""Connections of others that are thrown away before giving up: any process here may connect to a loopback port for the
microseconds in which it listens."""


async def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return two TCP sockets that are connected with each other, on the loopback interface; both do not block.

    Unlike those of `socket.socketpair` they pass on a reset, so that the end of a connection that was cut does not look
    like the end of its data.
    """
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.setblocking(False)
        ours = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        ours.setblocking(False)
        await loop.sock_connect(ours, listener.getsockname())
        for _ in range(MAX_STRANGERS):
            theirs, peer = await loop.sock_accept(listener)
            if peer == ours.getsockname():
                stack.pop_all()
                listener.close()
                for sock in (ours, theirs):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return ours, theirs
            theirs.close()
        raise OSError("other processes keep connecting to a port that was to connect two sockets here")
