"""Connects by TCP, to the addresses of a name as RFC 8305 ("happy eyeballs") says, on every event loop.

asyncio would do that itself, but uvloop tries one address after the other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from farhand_client.blocking import run_blocking

from .host_addresses import NEXT_ADDRESS_DELAY, SocketAddress, alternating, numeric_addresses, resolved_addresses


async def connect_tcp(
    host: str, port: int, *, family: int = 0, on_resolved: Callable[[], None] = lambda: None
) -> socket.socket:
    """Return a connected, non-blocking socket without Nagle's delay (TCP_NODELAY, tcp(7)), of an address family if one
    is given.

    Calls `on_resolved` once the addresses of the name are known. Raises `socket.gaierror` for an unknown name. If no
    address accepts the connection, raises the OSError of the first.
    """
    loop = asyncio.get_running_loop()
    addresses = alternating(await _addresses(host, port, family))
    on_resolved()
    attempts: list[asyncio.Task[socket.socket]] = []
    try:
        while True:
            if addresses:
                attempts.append(loop.create_task(_attempt(*addresses.popleft())))
            running = [attempt for attempt in attempts if not attempt.done()]
            if not running:
                return attempts[0].result()  # raises
            delay = NEXT_ADDRESS_DELAY if addresses else None
            done, _ = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                if attempt.exception() is None:
                    attempts.remove(attempt)
                    return attempt.result()
    finally:
        for attempt in attempts:
            attempt.cancel()
        for late in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()


async def _addresses(host: str, port: int, family: int) -> list[SocketAddress]:
    # A numeric address needs no resolver, which may be slow.
    return numeric_addresses(host, port, family) or await run_blocking(resolved_addresses, host, port, family)


async def _attempt(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
