"""Whether ssh answers where a Farhand service was expected, and what to do then."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from farhand_client.directories import DEFAULT_PORT

from .tcp import connect_tcp

if TYPE_CHECKING:
    from .address import Address

Connects: TypeAlias = Callable[[str, int], Awaitable[socket.socket]]
"""Returns a socket that is connected to a host and a port. Raises OSError."""

SSH_ONLY_PORT: Final = 22
"""Where ssh is looked for."""

BANNER_TIMEOUT: Final = 2.0
"""Seconds for sshd to say what it is, which it does at once (RFC 4253, section 4.2). An error waits for it."""

PORT_TIMEOUT: Final = 3.0
"""Seconds for Farhand's usual port to answer, where ssh's configuration has a port of its own: a firewall may drop what
is sent there."""

_BANNER: Final = b"SSH-"


async def speaks_ssh(host: str, port: int) -> bool:
    """Return whether a server of ssh answers there."""
    try:
        async with asyncio.timeout(BANNER_TIMEOUT):
            connected = await connect_tcp(host, port)
            with connected:
                begun = b""
                while len(begun) < len(_BANNER):
                    data = await asyncio.get_running_loop().sock_recv(connected, len(_BANNER) - len(begun))
                    if not data:
                        return False
                    begun += data
                return begun == _BANNER
    except OSError:  # among them TimeoutError
        return False


async def instead_of_tls(address: Address) -> str | None:
    """Return what to say about a peer that did not answer TLS, if it speaks ssh; None if it does not."""
    if not await speaks_ssh(address.host, address.port):
        return None
    return f"{address.host} port {address.port} speaks ssh, not Farhand's protocol; {_what_to_do(address.host)}"


async def where_ssh_answers(host: str) -> str:
    """Return the rest of a sentence about a port that is closed: where ssh answers instead; empty if it does not."""
    if not await speaks_ssh(host, SSH_ONLY_PORT):
        return ""
    return f" But ssh answers on port {SSH_ONLY_PORT}: {_what_to_do(host)}"


async def with_service_port(address: Address, connects: Connects | None = None) -> Address:
    """Return an address whose port is of ssh's configuration with Farhand's usual one, if something listens there.

    `connects` connects to it, if it is reached through other hosts.
    """
    usual = replace(address, port=DEFAULT_PORT, is_ssh_port=False)
    try:
        async with asyncio.timeout(PORT_TIMEOUT):
            (await (connects or connect_tcp)(usual.host, usual.port)).close()
    except OSError:  # among them TimeoutError
        return address
    return usual


def _what_to_do(host: str) -> str:
    return f"`farhand up {host}` installs Farhand there, and if it is there, ssh:{host} leads to it through ssh"
