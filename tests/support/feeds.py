"""The edge's end of a verdict feed, for tests of the core's end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from farhand_server.listen.feeds import VerdictFeeds


@contextlib.asynccontextmanager
async def fed(feeds: VerdictFeeds) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open the edge's end of a feed."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel raises it to its minimum
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.set_protocol(feeds.protocol(transport))
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield reader, writer
    finally:
        writer.close()
        transport.abort()
        await asyncio.sleep(0)
