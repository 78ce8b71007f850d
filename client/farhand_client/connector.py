"""`connect`: from the name of a service to a `Client` that is logged in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from farhand_protocol import messages as m
from farhand_protocol.errors import RemoteProtocolError
from farhand_protocol.events import ConnectionFailed, MessageReceived

from .arguments import as_bytes, as_callback, as_count, as_seconds, as_str, type_error
from .blocking import run_blocking
from .client import Client
from .config import config_directory
from .connection.address import Address, resolve
from .connection.deadline import ConnectDeadline, connect_deadline
from .connection.login import LoginResult
from .connection.reconnecting import RECONNECT_TIMEOUT, OutageCallback, ReconnectingConnection
from .connection.session import ClientSession
from .errors import AddressError, ConnectError
from .hops import open_client
from .logins import ConfirmHostKey, ConnectOptions, ShowTouch, login_of_lost
from .pending import Pending
from .times import CONNECT_TIMEOUT, KEEPALIVE_INTERVAL

if TYPE_CHECKING:
    from .connection.dial_ssh import LendTerminal
    from .handover import Handover, LostConnection
    from .sshconfig.lookup import SshSource
    from .trust.keyfile import AskPassphrase


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
    helper: bool | Literal["offer"] = False,
    via: str | Sequence[str] | None = None,
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
    configuration says `mux = "off"`; and if it is not, the helper is started and keeps one for the next caller. With
    `"offer"` it only does the latter.

    `ssh` is where names are looked up that `config.toml` lacks: by default the files that ssh reads.

    `via` are the hosts through which `host` is reached, the nearest first, each written as `host` is: a list, or a str
    with commas; `"none"` stands for none, and None for what the configuration says. TLS and the login are between this
    process and `host`: those on the way see neither. Each is checked and logged in at as if it were connected to by
    itself, with the keys that the configuration names for it. Clients of this process share their connections to it.

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
    on_the_way = _hosts_on_the_way(via)
    seconds = as_seconds(timeout, "timeout", positive=True)
    if seconds is None:
        raise type_error("timeout", timeout, "a number of seconds")
    keepalive = as_seconds(keepalive, "keepalive", positive=True)
    reconnect = as_seconds(reconnect, "reconnect", positive=False)

    options = ConnectOptions(
        timeout=seconds,
        named=tuple(map(_expanded, named)),
        known_hosts=record_path,
        accept_new=accept_new,
        confirm=confirm,
        passphrase=passphrase,
        touch=touch,
        keepalive=keepalive,
        reconnect=reconnect,
        watch=watch,
        helper="offer" if helper == "offer" else "borrow" if helper else "no",
        lend_terminal=lend_terminal,
    )

    async def opened() -> Client:
        async with connect_deadline(seconds) as deadline:
            config = _configuration(host, record_path, on_the_way)
            address = await _resolve(host, user, port, config, deadline, on_the_way, ssh)
            return await open_client(address, replace(options, config=config), deadline)

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
        address = await _resolve(host, user, port, config, deadline, None, ssh)
        options = ConnectOptions(
            timeout=timeout,
            config=config,
            named=tuple(_expanded(Path(path)) for path in identities),
            touch=touch,
            keepalive=keepalive,
        )
        log_in_again = await login_of_lost(address, options, deadline)
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


async def _resolve(
    host: str,
    user: str | None,
    port: int | None,
    config: Path | None,
    deadline: ConnectDeadline,
    via: Sequence[str] | None = None,
    ssh: SshSource | None = None,
) -> Address:
    if config is None and ssh is None:
        return resolve(host, user=user, port=port, via=via)
    file = config and config / "config.toml"
    deadline.step(f"{file} was not read", "; its file system may hang")
    address = await run_blocking(resolve, host, user=user, port=port, config=file, via=via, ssh=ssh)
    deadline.step("the modules for the connection were not loaded")
    return address


def _hosts_on_the_way(via: object) -> tuple[str, ...] | None:
    if via is None:
        return None
    if isinstance(via, str):
        return tuple(via.split(","))
    if isinstance(via, bytes) or not isinstance(via, Iterable):
        raise type_error("via", via, "a list of hosts")
    found = tuple(via)
    for host in found:
        as_str(host, "a host in via")
    return found


def _expanded(path: Path) -> Path:
    """Return `path` with a leading `~` expanded, which a shell leaves in `--identity=~/.ssh/id`."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path  # there is no such home directory; the error about the file will show the `~`


def _configuration(host: str, known_hosts: Path | None, via: Sequence[str] | None = None) -> Path | None:
    """Return the configuration directory; None if it is not needed and the user has no home in which it could be.

    A socket on this machine needs neither configuration nor trust, and a caller may name its own `known_hosts`.
    """
    if host.startswith("unix:") and not via:
        return None
    try:
        return config_directory()
    except ConnectError:
        if known_hosts is None:
            raise
        return None
