"""A TCP connection to the first address of a name that takes one (RFC 8305), on whatever event loop: asyncio's own
does so by itself, uvloop tries one address after the other."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias

DELAY: Final = 0.25
"""Seconds before the next address of a name is tried beside the last (RFC 8305, section 8)."""

_Address: TypeAlias = tuple[int, Any]  # a family, and what connect(2) wants in it


async def connected(host: str, port: int) -> socket.socket:
    """Return a connected, non-blocking socket without Nagle's delay (TCP_NODELAY, tcp(7)).

    Raises `socket.gaierror` for a name that is not known, and the OSError of the first address where none takes a
    connection.
    """
    loop = asyncio.get_running_loop()
    addresses = _alternating(await _addresses(host, port))
    attempts: list[asyncio.Task[socket.socket]] = []
    try:
        while True:
            if addresses:
                attempts.append(loop.create_task(_attempt(*addresses.popleft())))
            running = [attempt for attempt in attempts if not attempt.done()]
            if not running:
                return attempts[0].result()  # raises
            delay = DELAY if addresses else None
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


async def _addresses(host: str, port: int) -> list[_Address]:
    try:  # what is an address already needs nobody who may take his time
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.to_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


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


def _alternating(addresses: Iterable[_Address]) -> deque[_Address]:
    """Let the families take turns, the first one first: where one leads nowhere, the next address is another's."""
    by_family: dict[int, list[_Address]] = {}
    for each in addresses:
        by_family.setdefault(each[0], []).append(each)
    turns = chain.from_iterable(zip_longest(*by_family.values()))
    return deque(each for each in turns if each is not None)
