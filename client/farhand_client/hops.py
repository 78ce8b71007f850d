"""Clients of hosts that are reached through others: each host on the way is a client, too, whose tunnel leads on.

    client of inner ── TLS, login ── socket ── flow in the tunnel of the client of gate ── TLS, login ── TCP

TLS and the login are from end to end, so that a host on the way sees nothing but ciphertext. A cut anywhere is survived
by the client of the host behind it: its runs resume, and so do all connections in its tunnel.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from .client import Client
from .connection.address import Address
from .connection.reconnecting import ReconnectingConnection
from .errors import ConnectError, FarhandError
from .logins import ConnectOptions, LogInAgain, first_login

if TYPE_CHECKING:
    from .connection.deadline import ConnectDeadline
    from .connection.login import LoginResult

_Key: TypeAlias = "tuple[Address, Path | None, Path | None]"

_ON_THE_WAY: Final = "on the way to "


async def open_client(address: Address, options: ConnectOptions, deadline: ConnectDeadline) -> Client:
    """Connect and log in, through the hosts on the way if there are any. Raises as `connect`."""
    return (await _open(address, options, deadline)).client


class _Opened(NamedTuple):
    client: Client
    connection: ReconnectingConnection


class OpenedLogin(NamedTuple):
    """A login, and how to make the next one. `release` is called once no further connection is wanted."""

    login: LoginResult
    again: LogInAgain
    release: Callable[[], Awaitable[None]] | None


async def open_login(address: Address, options: ConnectOptions, deadline: ConnectDeadline) -> OpenedLogin:
    """Connect and log in, through the hosts on the way if there are any. Raises as `connect`."""
    passage = HopPassage(address, options) if address.via else None
    try:
        if passage is not None:
            await passage.prepare(deadline)
        if address.is_ssh_port:
            from .connection.ssh_only import with_service_port

            deadline.connecting(str(address))
            address = await with_service_port(address, None if passage is None else passage.connected)
        login, again = await first_login(address, options, deadline, passage)
    except BaseException:
        if passage is not None:
            await passage.release()
        raise
    return OpenedLogin(login, again, None if passage is None else passage.release)


async def _open(address: Address, options: ConnectOptions, deadline: ConnectDeadline) -> _Opened:
    login, again, release = await open_login(address, options, deadline)
    connection = ReconnectingConnection(login, again, options.reconnect, options.watch)
    connection.after_close = release
    return _Opened(Client(connection, login), connection)


class HopPassage:
    """The way to `address`: through the tunnel of the last host in its `via`. Implements `connection.dial.Passage`."""

    def __init__(self, address: Address, options: ConnectOptions) -> None:
        self._address = address
        *before, last = address.via
        # Of what the caller gives, a key is for the host that is meant alone, as with ssh's -i.
        own = replace(options, named=(), watch=None)
        self._hop: _Hop | None = _Hop.used(replace(last, via=tuple(before)), own)

    async def prepare(self, deadline: ConnectDeadline) -> None:
        """Connect to the host on the way, and log in there. Raises as `connect`, with a text that says so."""
        try:
            await self._used.client(deadline)
        except FarhandError as error:
            if not str(error).startswith(_ON_THE_WAY):
                error.args = (f"{_ON_THE_WAY}{self._address}: {error}", *error.args[1:])
            raise

    async def __call__(self, address: Address, deadline: ConnectDeadline) -> socket.socket:
        """Return a connected socket. Raises `ConnectError`, which names the host on the way."""
        hop = self._used.address
        step = f"{hop} did not connect to {address}", f"; {hop} or {address} may be down or behind a firewall"
        deadline.step(*step)
        try:
            client = await self._used.client(deadline, again=True)
            deadline.step(*step)
            if address.socket is not None:
                return await client.open_socket(path=address.socket)
            return await client.open_socket(address.host, address.port)
        except (FarhandError, OSError) as error:
            raise ConnectError(f"{_ON_THE_WAY}{address}: {hop} cannot connect to it: {error}") from error

    async def connected(self, host: str, port: int) -> socket.socket:
        """Return a socket that is connected to `host`. Raises OSError."""
        opened = self._used.opened
        if opened is None:
            raise ConnectionError(f"there is no connection to {self._used.address}")
        try:
            return await opened.client.open_socket(host, port)
        except OSError:
            raise
        except FarhandError as error:
            raise ConnectionError(str(error)) from None

    async def release(self) -> None:
        """Close the connection to the host on the way, unless others go through it. Safe to call again."""
        hop, self._hop = self._hop, None
        if hop is not None:
            await hop.unused()

    @property
    def _used(self) -> _Hop:
        if self._hop is None:
            raise ConnectError(f"the way to {self._address} was closed")
        return self._hop


class _Hop:
    """The client of a host on the way, shared by all that go through it in this event loop."""

    def __init__(self, address: Address, options: ConnectOptions) -> None:
        self.address: Final = address
        self.opened: _Opened | None = None
        self.uses = 0
        self._options = options
        self._connecting = asyncio.Lock()

    @classmethod
    def used(cls, address: Address, options: ConnectOptions) -> _Hop:
        """Return the one for this address, which is used once more from now on."""
        hops = _hops.setdefault(asyncio.get_running_loop(), {})
        hop = hops.setdefault((address, options.known_hosts, options.config), cls(address, options))
        hop.uses += 1
        return hop

    async def client(self, deadline: ConnectDeadline, *, again: bool = False) -> Client:
        """Return the client, which is connected if there is none, or if it has given up. With `again` nobody is asked
        anything. Raises as `connect`."""
        async with self._connecting:
            if self.opened is not None and self.opened.connection.closed:
                lost, self.opened = self.opened, None
                await lost.client.close()
            if self.opened is None:
                options = self._options.without_asking() if again else self._options
                self.opened = await _open(self.address, options, deadline)
            return self.opened.client

    async def unused(self) -> None:
        """Close the client if nobody uses it any more."""
        self.uses -= 1
        if self.uses:
            return
        hops = _hops.get(asyncio.get_running_loop(), {})
        for key in [key for key, hop in hops.items() if hop is self]:
            del hops[key]
        if self.opened is not None:
            await self.opened.client.close()


_hops: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, _Hop]]] = WeakKeyDictionary()
