"""`connect`: from the name of a service to a `Client` that is logged in."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from farhand_protocol import messages as m
from farhand_protocol.errors import RemoteProtocolError
from farhand_protocol.events import ConnectionFailed, MessageReceived

from .arguments import as_bytes, as_callback, as_count, as_seconds, as_str, type_error
from .blocking import run_blocking
from .client import Client
from .config import config_directory, home_directory, state_directory
from .connection.address import Address, resolve
from .connection.attempts import Attempts
from .connection.deadline import ConnectDeadline, connect_deadline
from .connection.dial import DialledSession, dial_socket, dial_tls, record_host_key
from .connection.helper_use import borrowed_login, connection_request, offer_connection
from .connection.login import LoginResult, local_user, log_in
from .connection.reconnecting import RECONNECT_TIMEOUT, OutageCallback, ReconnectingConnection
from .connection.return_ticket import ReturnTicket
from .connection.session import ClientSession
from .errors import AddressError, ConnectError, HostKeyUnknown, RequestRefused
from .mux.place import helper_place, mux_allowed
from .pending import Pending
from .times import CONNECT_TIMEOUT, KEEPALIVE_INTERVAL

if TYPE_CHECKING:
    from .connection.dial_ssh import LendTerminal
    from .handover import Handover, LostConnection
    from .sshconfig.lookup import SshSource
    from .trust.identities import Identities
    from .trust.keyfile import AskPassphrase
    from .trust.known_hosts import KnownHosts

LogInAgain: TypeAlias = Callable[[], Awaitable[LoginResult]]
"""Connects and logs in again as at first, but without asking the user anything."""

ShowTouch: TypeAlias = Callable[[str], None]
"""Shows a person a sentence: which security key has to be touched now."""

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
    touch: ShowTouch | None = None,
    timeout: float = CONNECT_TIMEOUT,
    keepalive: float | None = KEEPALIVE_INTERVAL,
    reconnect: float | None = RECONNECT_TIMEOUT,
    watch: OutageCallback | None = None,
    helper: bool = False,
    lend_terminal: LendTerminal | None = None,
    ssh: SshSource | None = None,
) -> Pending[Client]:
    """Connect and log in: `async with connect(host) as client:`, or `client = await connect(host)`.

    `host` is `[user@]name[:port]` (port 7022, IPv6 in brackets), `unix:PATH`, `ssh:[user@]name` (by the program ssh, as
    its configuration says), or a name from `config.toml`. `user` defaults to the local user's name. `identities` are
    key files, tried in order, and no others; without any, the keys of the ssh-agent and the usual files are tried, the
    likeliest first. `passphrase` is called for those that need one, `touch` if a security key has to be touched.

    The service's host key must be in `known_hosts` (by default `known_hosts` in the configuration directory). An
    unknown one is recorded with `accept_new`, or if `confirm` returns True; otherwise `HostKeyUnknown` is raised.
    `timeout` is the time in seconds allowed for all of that: from reading `config.toml` to the end of the login, with a
    touch of a security key. Only the time in which `confirm` and `passphrase` wait for a person does not count. After
    `keepalive` seconds of silence the service is pinged; after three such intervals without an answer the connection
    counts as lost (None: no pings).

    After the connection is lost, the client tries to reconnect for `reconnect` seconds (0 or None: not at all). Each
    attempt checks the host key and logs in as the first one did, but asks the user nothing. Runs and requests under way
    then continue. `watch` is called with an `Outage` when the connection is lost, and with None when it is back.

    With `helper` the connection may be one that the user's helper keeps ready, as for the `farhand` command, unless the
    configuration says `mux = "off"`; and if it is not, the helper is started and keeps one for the next caller.

    `ssh` is where names are looked up that `config.toml` lacks: by default the files that ssh reads.

    ssh asks nothing unless `lend_terminal` lends it the terminal: it is called with a function, and awaits that with
    True, or with False if there is no terminal.

    Raises `AddressError`, `ConnectError` (with its subclasses `HostKeyUnknown`, `HostKeyChanged`, `HostKeyRevoked`,
    `CarrierFailed`), `AuthenticationError`, and `RequestRefused` if the service gives a reason for accepting no login.
    """

    as_str(host, "host")
    as_str("" if user is None else user, "user")
    if port is not None and not 1 <= as_count(port, "port") <= 65535:
        raise AddressError(f"port is {port}; it must be 1 to 65535")
    if isinstance(identities, str | bytes | os.PathLike) or not isinstance(identities, Iterable):
        raise type_error("identities", identities, "a list of paths")
    named = tuple(Path(os.fsdecode(as_bytes(path, "a path in identities"))) for path in identities)
    record_path = None if known_hosts is None else Path(os.fsdecode(as_bytes(known_hosts, "known_hosts")))
    callbacks = {"confirm": confirm, "passphrase": passphrase, "touch": touch, "watch": watch}
    for name, callback in {**callbacks, "lend_terminal": lend_terminal}.items():
        as_callback(callback, name)
    if ssh is not None:
        from .sshconfig.lookup import SshSource

        if not isinstance(ssh, SshSource):
            raise type_error("ssh", ssh, "an SshSource")
    seconds = as_seconds(timeout, "timeout", positive=True)
    if seconds is None:
        raise type_error("timeout", timeout, "a number of seconds")
    keepalive = as_seconds(keepalive, "keepalive", positive=True)
    reconnect = as_seconds(reconnect, "reconnect", positive=False)

    async def opened() -> Client:
        async with connect_deadline(seconds) as deadline:
            config = _configuration(host, record_path)
            address = await _resolve(host, user, port, config and config / "config.toml", deadline, ssh)
            if address.via:
                raise AddressError(f"this version of Farhand reaches no host through another: {address}")
            if address.is_ssh_port:
                from .connection.ssh_only import with_service_port

                deadline.connecting(str(address))
                address = await with_service_port(address)
            # A socket on this machine is connected to directly: that takes no longer than asking. ssh has a way of its
            # own to keep connections (ControlMaster).
            wanted = helper and not address.asks_for_no_key and mux_allowed(address.mux)
            place = helper_place() if wanted else None
            files = tuple(map(_expanded, named)) or address.identities
            login = None
            if place is not None:
                path = record_path or (config and config / "known_hosts")
                request = connection_request(address, files, config, path)
                login = await borrowed_login(place, request, address, keepalive, deadline)
            borrowed = login is not None
            if address.socket is not None:
                log_in_again: LogInAgain = partial(_socket_login, address, seconds)
                login = await log_in(await dial_socket(address, None, deadline), address, None, deadline)
            elif address.ssh:
                from .connection.dial_ssh import dial_ssh

                log_in_again = _ssh_login_again(address, seconds, keepalive)
                login = await log_in(
                    await dial_ssh(address, keepalive, deadline, lend_terminal), address, None, deadline
                )
            else:
                record, ticket = _trusted(record_path, address)
                keys = _identities(address, files, config, passphrase, deadline)
                if login is None:
                    dial = partial(_dial, address, record, accept_new, confirm, keepalive, deadline, ticket)
                    login = await _first_login(dial, address, keys, deadline, touch)
                    await ticket.renew(login.accepted)
                again = keys.for_reconnect(login.identity)
                log_in_again = partial(_tls_login, address, record, again, seconds, keepalive, touch, ticket)
            if place is not None and not borrowed:
                offer_connection(place, request, login)
        return Client(ReconnectingConnection(login, log_in_again, reconnect, watch), login)

    return Pending(opened())


async def reconnect_lost(
    host: str,
    handover: Handover,
    *,
    identities: Sequence[str | os.PathLike[str]],
    touch: ShowTouch | None,
    timeout: float,
    keepalive: float,
    reconnect: float,
    watch: OutageCallback,
    user: str | None = None,
    port: int | None = None,
    ssh: SshSource | None = None,
) -> tuple[Client, ReconnectingConnection]:
    """Return the client of a connection that the direct path has lost. It reconnects as one from `connect` does.

    Raises `AddressError` and `ConnectError`.
    """
    async with connect_deadline(timeout) as deadline:
        config = _configuration(host, None)
        address = await _resolve(host, user, port, config and config / "config.toml", deadline, ssh)
        if address.socket is not None:
            log_in_again: LogInAgain = partial(_socket_login, address, timeout)
        elif address.ssh:
            log_in_again = _ssh_login_again(address, timeout, keepalive)
        else:
            record, ticket = _trusted(None, address)
            named = tuple(_expanded(Path(path)) for path in identities)
            again = _identities(address, named or address.identities, config, None, deadline).for_reconnect(None)
            again.accepted_before = True
            log_in_again = partial(_tls_login, address, record, again, timeout, keepalive, touch, ticket)
    welcome, accepted = m.Welcome(**handover.welcome), m.Accepted(**handover.accepted)
    borrowed = handover.borrowed and handover.final is None
    login = LoginResult(_lost_session(str(address), handover.lost, borrowed=borrowed), welcome, accepted, None)
    if handover.final is not None:
        reconnect = 0.0  # nothing is left to ask for
    connection = ReconnectingConnection(login, log_in_again, reconnect, watch)
    return Client(connection, login), connection


def _lost_session(name: str, lost: LostConnection | None, *, borrowed: bool) -> ClientSession:
    session = ClientSession(name, None, borrowed=borrowed)
    if lost is None:
        session.lost(None)
    elif lost.broken and lost.code is not None:
        session.received(ConnectionFailed(RemoteProtocolError(lost.code, lost.text)))
    elif lost.code is not None:
        session.received(MessageReceived(0, m.Error(code=lost.code, message=lost.text)))
    elif lost.silence is not None:
        session.silent(lost.silence)
    else:
        session.lost(lost.error)
    return session


def _trusted(known_hosts: Path | None, address: Address) -> tuple[KnownHosts, ReturnTicket]:
    from .trust.known_hosts import KnownHosts

    record = KnownHosts(known_hosts or config_directory() / "known_hosts")
    return record, ReturnTicket(state_directory(), address, address.user or local_user())


async def _resolve(
    host: str,
    user: str | None,
    port: int | None,
    config: Path | None,
    deadline: ConnectDeadline,
    ssh: SshSource | None = None,
) -> Address:
    if config is None and ssh is None:
        return resolve(host, user=user, port=port)
    deadline.step(f"{config} was not read", "; its file system may hang")
    address = await run_blocking(resolve, host, user=user, port=port, config=config, ssh=ssh)
    deadline.step("the modules for the connection were not loaded")
    return address


async def _socket_login(address: Address, timeout: float) -> LoginResult:
    async with connect_deadline(timeout) as deadline:
        return await log_in(await dial_socket(address, None, deadline), address, None, deadline)


def _ssh_login_again(address: Address, timeout: float, keepalive: float | None) -> LogInAgain:
    # A connection of its own first: a shared one may be what was lost. But perhaps only that one asks for no password.
    own = itertools.cycle((True, False))

    async def log_in_again() -> LoginResult:
        from .connection.dial_ssh import dial_ssh

        async with connect_deadline(timeout) as deadline:
            dialled = await dial_ssh(address, keepalive, deadline, own=next(own))
            return await log_in(dialled, address, None, deadline)

    return log_in_again


async def _tls_login(
    address: Address,
    record: KnownHosts,
    identities: Identities,
    timeout: float,
    keepalive: float | None,
    touch: ShowTouch | None,
    ticket: ReturnTicket,
) -> LoginResult:
    """Connect and log in without asking the user anything. The caller tries again if that fails."""
    async with connect_deadline(timeout) as deadline:
        dialled = await dial_tls(address, record, keepalive, deadline, await ticket.load())
        login = await log_in(dialled, address, identities.afresh(), deadline, touch)
    identities.accepted(login.identity)
    await ticket.renew(login.accepted)
    return login


async def _dial(
    address: Address,
    record: KnownHosts,
    accept_new: bool,
    confirm: ConfirmHostKey | None,
    keepalive: float | None,
    deadline: ConnectDeadline,
    ticket: ReturnTicket,
) -> DialledSession:
    shown = await ticket.load()
    try:
        return await dial_tls(address, record, keepalive, deadline, shown)
    except HostKeyUnknown as error:
        if not accept_new and (confirm is None or not await deadline.person(confirm(error))):
            raise
        await record_host_key(record, address, error.key, deadline)
    # On a new connection: the user may have taken longer to decide than the service waits for a login.
    return await dial_tls(address, record, keepalive, deadline, shown)


async def _first_login(
    dial: Callable[[], Awaitable[DialledSession]],
    address: Address,
    keys: Identities,
    deadline: ConnectDeadline,
    touch: ShowTouch | None,
) -> LoginResult:
    """Connect and log in. If the service dropped the connection, or did not wait for a person's answer, do so again
    with what is known now."""
    attempts = Attempts()
    while True:
        dialled = None
        asked = deadline.questions
        try:
            dialled = await dial()
            asked = deadline.questions
            return await log_in(dialled, address, keys, deadline, touch)
        except (ConnectError, RequestRefused) as error:
            if dialled is None or dialled.session.end_cause is None or deadline.questions == asked:
                delay = attempts.delay(error, deadline.left)
                if delay is None:
                    raise
                await asyncio.sleep(delay)
            keys.again()


def _expanded(path: Path) -> Path:
    """Return `path` with a leading `~` expanded, which a shell leaves in `--identity=~/.ssh/id`."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path  # there is no such home directory; the error about the file will show the `~`


def _configuration(host: str, known_hosts: Path | None) -> Path | None:
    """Return the configuration directory; None if it is not needed and the user has no home in which it could be.

    A socket on this machine needs neither configuration nor trust, and a caller may name its own `known_hosts`.
    """
    if host.startswith("unix:"):
        return None
    try:
        return config_directory()
    except ConnectError:
        if known_hosts is None:
            raise
        return None


def _identities(
    address: Address,
    named: Sequence[Path],
    config: Path | None,
    passphrase: AskPassphrase | None,
    deadline: ConnectDeadline,
) -> Identities:
    from .trust.agent import Agent
    from .trust.identities import Identities, default_key_files

    async def ask(prompt: str) -> str | None:
        assert passphrase is not None
        return await deadline.person(passphrase(prompt))

    home = home_directory()
    return Identities(
        named=named,
        agent=Agent.from_environment(os.environ if address.agent is None else {"SSH_AUTH_SOCK": address.agent}),
        own=(*address.preferred, *(() if config is None else default_key_files(config))),
        usual=() if home is None else default_key_files(home / ".ssh"),
        ask=ask if passphrase is not None else None,
    )
