"""`connect`: from the name of a service to a `Client` that is logged in."""

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
"""Seconds allowed to connect, and then for each answer of the login: TCP gives up only after minutes (tcp(7))."""

KEEPALIVE_INTERVAL: Final = 15.0
"""Seconds of silence after which the service is pinged; after three such intervals without an answer the connection
counts as lost. Shorter than the shortest time for which firewalls are known to remember an idle connection (RFC 5382
requires 2 hours; a few minutes are seen)."""

LogInAgain: TypeAlias = Callable[[], Awaitable[LoginResult]]
"""Connects and logs in again as at first, but without asking the user anything."""

ConfirmHostKey: TypeAlias = Callable[[HostKeyUnknown], Awaitable[bool]]
"""Shows a person an unknown host key and returns whether it is the right one."""


def connect(
    host: str,
    *,
    user: str | None = None,
    port: int | None = None,
    identities: Sequence[str | os.PathLike[str]] = (),
    known_hosts: str | os.PathLike[str] | None = None,
    accept_new: bool = False,
    confirm: ConfirmHostKey | None = None,
    passphrase: AskPassphrase | None = None,
    timeout: float = CONNECT_TIMEOUT,
    keepalive: float | None = KEEPALIVE_INTERVAL,
    reconnect: float | None = RECONNECT_TIMEOUT,
    watch: OutageCallback | None = None,
) -> Pending[Client]:
    """Connect and log in: `async with connect(host) as client:`, or `client = await connect(host)`.

    `host` is `[user@]name[:port]` (port 7022, IPv6 in brackets), `unix:PATH`, or a name from `config.toml`. `user`
    defaults to the local user's name. `identities` are key files, tried in order; without any, the keys of the
    ssh-agent are tried and then the usual files. `passphrase` is called for those that need one.

    The service's host key must be in `known_hosts` (by default `known_hosts` in the configuration directory). An
    unknown one is recorded with `accept_new`, or if `confirm` returns True; otherwise `HostKeyUnknown` is raised.
    `timeout` is the time in seconds allowed to connect, and then for each answer of the login. After `keepalive`
    seconds of silence the service is pinged; after three such intervals without an answer the connection counts as lost
    (None: no pings).

    After the connection is lost, the client tries to reconnect for `reconnect` seconds (0 or None: not at all). Each
    attempt checks the host key and logs in as the first one did, but asks the user nothing. Runs and requests under way
    then continue. `watch` is called with an `Outage` when the connection is lost, and with None when it is back.

    Raises `AddressError`, `ConnectError` (with its subclasses `HostKeyUnknown`, `HostKeyChanged`, `HostKeyRevoked`),
    `AuthenticationError`, and `RequestRefused` if the service gives a reason for accepting no login.
    """

    async def opened() -> Client:
        config = config_directory()
        address = resolve(host, user=user, port=port, config=config / "config.toml")
        if address.socket is not None:
            log_in_again: LogInAgain = partial(_socket_login, address, timeout)
            login = await log_in_again()
        else:
            from .trust.known_hosts import KnownHosts

            record = KnownHosts(Path(known_hosts or config / "known_hosts"))
            keys = _identities(tuple(Path(path) for path in identities) or address.identities, config, passphrase)
            dialled = await _dial(address, record, accept_new, confirm, timeout, keepalive)
            login = await _complete_login(dialled, address, keys, timeout)
            log_in_again = partial(_tls_login, address, record, keys.for_reconnect(login.identity), timeout, keepalive)
        return Client(ReconnectingConnection(login, log_in_again, reconnect, watch), login)

    return Pending(opened())


async def _socket_login(address: Address, timeout: float) -> LoginResult:
    async with _connect_timeout(timeout, address):
        dialled = await dial_socket(address, None)
    return await _complete_login(dialled, address, None, timeout)


async def _tls_login(
    address: Address, record: KnownHosts, identities: Identities, timeout: float, keepalive: float | None
) -> LoginResult:
    """Connect and log in without asking the user anything."""
    async with _connect_timeout(timeout, address):
        dialled = await dial_tls(address, record, keepalive)
    return await _complete_login(dialled, address, identities, timeout)


async def _dial(
    address: Address,
    record: KnownHosts,
    accept_new: bool,
    confirm: ConfirmHostKey | None,
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
    # On a new connection: the user may have taken longer to decide than the service waits for a login.
    async with _connect_timeout(timeout, address):
        return await dial_tls(address, record, keepalive)


def _identities(named: Sequence[Path], config: Path, passphrase: AskPassphrase | None) -> Identities:
    from .trust.agent import Agent
    from .trust.identities import Identities, default_key_files

    default = default_key_files(Path.home(), config)
    return Identities(named=named, agent=Agent.from_environment(os.environ), default=default, ask=passphrase)


async def _complete_login(
    dialled: DialledSession, address: Address, identities: Identities | None, timeout: float
) -> LoginResult:
    try:
        return await log_in(dialled, address, identities, timeout)
    except BaseException:
        dialled.session.abort()
        raise


class _connect_timeout:
    """`asyncio.timeout` whose error says what took too long."""

    def __init__(self, seconds: float, address: Address) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._message = f"{address} did not answer within {seconds:g} seconds"

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._timeout.__aexit__(*error)  # type: ignore[arg-type]  # the three values of __aexit__
        except TimeoutError:
            raise ConnectError(self._message) from None
