"""`connect`: from the name of a service to a client that is logged in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from .client import Client
from .config import config_directory
from .connection.address import Address, resolve
from .connection.dial import DialledSession, dial_socket, dial_tls, record_host_key
from .connection.login import LoginResult, log_in
from .connection.reconnecting import RECONNECT_TIMEOUT, OutageCallback, ReconnectingConnection
from .errors import ConnectError, HostKeyUnknown
from .pending import Pending

if TYPE_CHECKING:
    from .trust.identities import Identities
    from .trust.keyfile import AskPassphrase
    from .trust.known_hosts import KnownHosts

CONNECT_TIMEOUT: Final = 30.0
"""Seconds for the connection, and again for each answer of the login: TCP gives up only after minutes (tcp(7))."""

KEEPALIVE_INTERVAL: Final = 15.0
"""Seconds of silence after which the service is asked whether it is there; three of them without an answer are
the end. Shorter than the least time for which firewalls are known to remember a connection (RFC 5382: 2 hours is
asked of them, some minutes are seen)."""

LogInAgain: TypeAlias = Callable[[], Awaitable[LoginResult]]
Confirm: TypeAlias = Callable[[HostKeyUnknown], Awaitable[bool]]
"""Shows a person a key that is not on record and returns whether it is the right one."""


def connect(
    host: str,
    *,
    user: str | None = None,
    port: int | None = None,
    identities: Sequence[str | os.PathLike[str]] = (),
    known_hosts: str | os.PathLike[str] | None = None,
    accept_new: bool = False,
    confirm: Confirm | None = None,
    passphrase: AskPassphrase | None = None,
    timeout: float = CONNECT_TIMEOUT,
    keepalive: float | None = KEEPALIVE_INTERVAL,
    reconnect: float | None = RECONNECT_TIMEOUT,
    watch: OutageCallback | None = None,
) -> Pending[Client]:
    """Connect and log in: `async with connect(host) as client:`, or `client = await connect(host)`.

    `host` is `[user@]name[:port]` (port 7022, IPv6 in brackets), `unix:PATH`, or a name from `config.toml`. `user`
    defaults to the local user's name. `identities` are key files, tried in order; without any, the keys of the
    ssh-agent are, then the usual files. `passphrase` is asked for those that need one.

    The service's key must be in `known_hosts` (default `known_hosts` in the configuration directory). One that is not
    is recorded with `accept_new`, or where `confirm` says yes; else `HostKeyUnknown` is raised. `timeout` is in
    seconds, for the connection and again for each answer of the login. After `keepalive` seconds of silence the service
    is asked whether it is there; after three such times without an answer the connection is lost.

    A connection that is lost is made again within `reconnect` seconds, each time with the same check of the service's
    key and the same login, but nobody is asked anything; runs and requests under way then go on. With 0 or None it
    stays lost. `watch` is told of both.

    Raises `AddressError`, `ConnectError` (with its kinds `HostKeyUnknown`, `HostKeyChanged`, `HostKeyRevoked`),
    `AuthenticationError`, and `RequestRefused` where the service says why it takes nobody.
    """

    async def opened() -> Client:
        config = config_directory()
        address = resolve(host, user=user, port=port, config=config / "config.toml")
        if address.socket is not None:
            again: LogInAgain = partial(_socket_login, address, timeout)
            login = await again()
        else:
            from .trust.known_hosts import KnownHosts

            record = KnownHosts(Path(known_hosts or config / "known_hosts"))
            asked = _identities(tuple(Path(path) for path in identities) or address.identities, config, passphrase)
            dialled = await _dial(address, record, accept_new, confirm, timeout, keepalive)
            login = await _logged_in(dialled, address, asked, timeout)
            again = partial(_tls_login, address, record, asked.for_reconnect(login.identity), timeout, keepalive)
        return Client(ReconnectingConnection(login, again, reconnect, watch), login)

    return Pending(opened())


async def _socket_login(address: Address, timeout: float) -> LoginResult:
    async with _connect_timeout(timeout, address):
        dialled = await dial_socket(address, None)
    return await _logged_in(dialled, address, None, timeout)


async def _tls_login(
    address: Address, record: KnownHosts, identities: Identities, timeout: float, keepalive: float | None
) -> LoginResult:
    """Connect and log in as the first time, but ask nobody anything."""
    async with _connect_timeout(timeout, address):
        dialled = await dial_tls(address, record, keepalive)
    return await _logged_in(dialled, address, identities, timeout)


async def _dial(
    address: Address,
    record: KnownHosts,
    accept_new: bool,
    confirm: Confirm | None,
    timeout: float,
    keepalive: float | None,
) -> DialledSession:
    try:
        async with _connect_timeout(timeout, address):
            return await dial_tls(address, record, keepalive)
    except HostKeyUnknown as error:
        if not accept_new and (confirm is None or not await confirm(error)):
            raise
        record_host_key(record, address, error.key)
    # A new connection: a person may have thought for longer than the service waits for a login.
    async with _connect_timeout(timeout, address):
        return await dial_tls(address, record, keepalive)


def _identities(named: Sequence[Path], config: Path, passphrase: AskPassphrase | None) -> Identities:
    from .trust.agent import Agent
    from .trust.identities import Identities, default_key_files

    default = default_key_files(Path.home(), config)
    return Identities(named=named, agent=Agent.from_environment(os.environ), default=default, ask=passphrase)


async def _logged_in(
    dialled: DialledSession, address: Address, identities: Identities | None, timeout: float
) -> LoginResult:
    try:
        return await log_in(dialled, address, identities, timeout)
    except BaseException:
        dialled.session.abort()
        raise


class _connect_timeout:
    """`asyncio.timeout` that says what took too long."""

    def __init__(self, seconds: float, address: Address) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._sentence = f"{address} did not answer within {seconds:g} seconds"

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._timeout.__aexit__(*error)  # type: ignore[arg-type]  # passed on as it came
        except TimeoutError:
            raise ConnectError(self._sentence) from None
