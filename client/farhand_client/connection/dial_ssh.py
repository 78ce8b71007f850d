"""Connects to the service of a machine that ssh leads to: `ssh HOST farhandd stdio`.

ssh proves who the machine is and who the user is. At the other end is the service's Unix socket, where the kernel says
which account is calling, so that neither TLS nor a host key of ours is needed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from farhand_client.errors import CarrierFailed
from farhand_protocol.stdio import NO_SERVICE, STDIO_READY

from .carrier import Carrier
from .dial import DialledSession
from .session import ClientSession
from .ssh_program import find_ssh, ssh_words

if TYPE_CHECKING:
    from .address import Address
    from .deadline import ConnectDeadline

LendTerminal: TypeAlias = Callable[[Callable[[bool], Awaitable[None]]], Awaitable[None]]
"""Calls its argument, and waits for it, with whether a program may ask the user at the terminal meanwhile."""

SSH_FAILED: Final = 255
"""ssh's exit code for its own errors (ssh(1))."""

NOT_FOUND: Final = 127
"""A shell's exit code for a program that is not there."""


async def dial_ssh(
    address: Address,
    keepalive: float | None,
    deadline: ConnectDeadline,
    lend: LendTerminal | None = None,
    *,
    own: bool = False,
) -> DialledSession:
    """Connect by ssh. Raises `CarrierFailed`.

    ssh asks the user nothing unless `lend` lends it the terminal. With `own` it uses no shared connection
    (ControlMaster), which may be as dead as the one that was lost.
    """
    ssh = find_ssh()
    if lend is None:
        return await _dial(ssh, address, keepalive, deadline, asks=False, own=own)
    dialled: list[DialledSession] = []

    async def at_terminal(asks: bool) -> None:
        dialled.append(await _dial(ssh, address, keepalive, deadline, asks=asks, own=own))

    await lend(at_terminal)
    return dialled[0]


async def _dial(
    ssh: str, address: Address, keepalive: float | None, deadline: ConnectDeadline, *, asks: bool, own: bool
) -> DialledSession:
    session = ClientSession(str(address), keepalive)
    deadline.connecting(str(address))
    carrier = Carrier(ssh_words(ssh, address, asks=asks, own=own, timeout=deadline.left), at_terminal=asks)
    try:
        # While ssh may be asking the user, the time limit is its own ConnectTimeout.
        ready = carrier.ready(STDIO_READY)
        try:
            near = await (deadline.person(ready) if asks else ready)
        except CarrierFailed as error:
            raise CarrierFailed(_failure(ssh, address, error), code=error.code, output=error.output) from None
        session.carrier = carrier
        await asyncio.get_running_loop().create_unix_connection(session.make_transport, sock=near)
    except BaseException:
        carrier.end()
        raise
    return DialledSession(session)


def _failure(ssh: str, address: Address, error: CarrierFailed) -> str:
    name = os.path.basename(ssh)  # noqa: PTH119  # a program, as text
    lines = error.output.split("\n")
    said = "".join(f"\n  {line}" for line in lines) if len(lines) > 1 else f" {error.output}"
    said = f":{said}" if error.output else ""
    up = f"farhand up {address.host}"
    match error.code:
        case None:
            return f"{name} did not lead to a Farhand service at {address}: {error}{said}"
        case int(code) if code == SSH_FAILED:
            return f"{name} cannot connect to {address.host}{said}"
        case int(code) if code == NOT_FOUND:
            return f"{address.host} has no program farhandd; to install it: {up}"
        case int(code) if code == NO_SERVICE:
            return f"no Farhand service answers at {address.host}{said}; or from here: {up}"
        case int(code) if code < 0:
            return f"{name} to {address.host} was ended by signal {-code}{said}"
        case _:
            return f"{name} led to {address.host}, but not to its service: exit code {error.code}{said}"
