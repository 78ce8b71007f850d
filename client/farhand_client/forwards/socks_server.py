"""The server's side of a SOCKS handshake, over any stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from farhand_client.errors import FarhandError, ForwardError
from farhand_forwards.targets import InetTarget

from .socks import SocksError, SocksHandshake, SocksRequest

SOCKS_TIMEOUT: Final = 30.0
"""Seconds for a program to say what it wants. A person may type the request; what says nothing holds a descriptor."""

ReceiveSome: TypeAlias = Callable[[int], Awaitable[bytes]]
"""Returns up to so many bytes, at least one, and none at the end."""

SendAll: TypeAlias = Callable[[bytes], Awaitable[None]]

_Opened = TypeVar("_Opened")

_NOT_SERVED: Final = {
    "bind": "BIND, a connection from outside, which is not served",
    "associate": "UDP ASSOCIATE, which only a SOCKS server on this side serves (-D)",
}


async def socks_request(receive: ReceiveSome, send: SendAll) -> SocksRequest | None:
    """Answer the greeting and return the request; None if the program has closed its side before.

    Nothing that follows the request is read. Raises `SocksError`, once its answer is sent, and OSError.
    """
    handshake = SocksHandshake()
    try:
        async with asyncio.timeout(SOCKS_TIMEOUT):
            while data := await receive(handshake.wanted):
                request = handshake.receive(data)
                if handshake.outgoing:
                    await send(bytes(handshake.outgoing))
                    handshake.outgoing.clear()
                if request is not None:
                    return request
    except SocksError as error:
        if error.answer:
            await send(error.answer)
        raise
    except TimeoutError:
        raise SocksError(f"the program has not said within {SOCKS_TIMEOUT:g} seconds what it wants") from None
    return None


async def connect_and_answer(
    request: SocksRequest,
    send: SendAll,
    connect: Callable[[InetTarget], Awaitable[_Opened]],
    give_up: Callable[[_Opened], None],
) -> _Opened:
    """Connect to what is requested with `connect`, answer whether that worked, and return the connection.

    `give_up` gets a connection whose program has gone before the answer. Raises `SocksError` if something else is
    requested, what `connect` raises, and OSError.
    """
    if request.command != "connect":
        await send(request.answer("command"))
        asked = _NOT_SERVED.get(request.command, request.command)
        raise SocksError(f"the program asks for {asked}")
    if not request.port:
        await send(request.answer("failed"))
        raise SocksError("the program asks for port 0, to which nothing can be connected")
    try:
        opened = await connect(InetTarget(request.host, request.port))
    except FarhandError as error:
        await send(request.answer(error.cause if isinstance(error, ForwardError) else "failed"))
        raise
    try:
        await send(request.answer("granted"))
    except BaseException:
        give_up(opened)
        raise
    return opened
