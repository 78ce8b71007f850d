"""Logs in at an address: for the first time, when a person may be asked, and again after the connection was lost."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from .config import config_directory, home_directory, state_directory
from .connection.attempts import Attempts
from .connection.deadline import ConnectDeadline, connect_deadline
from .connection.dial import DialledSession, Passage, dial_socket, dial_tls, record_host_key
from .connection.helper_use import borrowed_login, connection_request, offer_connection, start_helper
from .connection.login import LoginResult, local_user, log_in
from .connection.reconnecting import OutageCallback
from .connection.return_ticket import ReturnTicket
from .errors import ConnectError, HostKeyUnknown, RequestRefused
from .mux.place import helper_place, mux_allowed

if TYPE_CHECKING:
    from .connection.address import Address
    from .connection.dial_ssh import LendTerminal
    from .trust.identities import Identities
    from .trust.keyfile import AskPassphrase
    from .trust.known_hosts import KnownHosts

LogInAgain: TypeAlias = Callable[[], Awaitable[LoginResult]]
"""Connects and logs in again as at first, but without asking the user anything."""

ShowTouch: TypeAlias = Callable[[str], None]
"""Shows a person a sentence: which security key has to be touched now."""

ConfirmHostKey: TypeAlias = Callable[[HostKeyUnknown], Awaitable[bool]]
"""Shows a person an unknown host key and returns whether it is the right one."""


HelperMode: TypeAlias = Literal["no", "offer", "borrow"]
"""What is done with the helper: nothing; it is started and told of the connection; or its connection is used, too."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What `connect` was called with, checked. `config` is the configuration directory."""

    timeout: float
    config: Path | None = None
    named: tuple[Path, ...] = ()
    known_hosts: Path | None = None
    accept_new: bool = False
    confirm: ConfirmHostKey | None = None
    passphrase: AskPassphrase | None = None
    touch: ShowTouch | None = None
    keepalive: float | None = None
    reconnect: float | None = None
    watch: OutageCallback | None = None
    helper: HelperMode = "no"
    lend_terminal: LendTerminal | None = None

    def without_asking(self) -> ConnectOptions:
        """Return the options for connecting again when nobody expects a question."""
        return replace(self, accept_new=False, confirm=None, passphrase=None, lend_terminal=None)


class FirstLogin(NamedTuple):
    """A login, and how to make the next one."""

    login: LoginResult
    again: LogInAgain


async def first_login(
    address: Address, options: ConnectOptions, deadline: ConnectDeadline, passage: Passage | None
) -> FirstLogin:
    """Connect and log in, by `passage` if the address is reached through other hosts. Raises as `connect`."""
    # Through other hosts nothing is lent: the helper connects to no others for a connection.
    wanted = options.helper != "no" and passage is None and not address.family
    if address.socket is not None:
        again: LogInAgain = partial(_socket_login, address, options, passage)
        keepalive = None if passage is None else options.keepalive
        dialled = await dial_socket(address, keepalive, deadline, passage)
        login = await log_in(dialled, address, None, deadline)
        if wanted:
            start_helper(address)
        return FirstLogin(login, again)
    if address.ssh:
        from .connection.dial_ssh import dial_ssh

        dialled = await dial_ssh(address, options.keepalive, deadline, options.lend_terminal)
        login = await log_in(dialled, address, None, deadline)
        if wanted:
            start_helper(address)
        return FirstLogin(login, _ssh_login_again(address, options))
    place = helper_place() if wanted and mux_allowed(address.mux) else None
    files = options.named or address.identities
    found = None
    if place is not None:
        path = options.known_hosts or (options.config and options.config / "known_hosts")
        request = connection_request(address, files, options.config, path)
        if options.helper == "borrow":
            found = await borrowed_login(place, request, address, options.keepalive, deadline)
    record, ticket = _trusted(options.known_hosts, address)
    keys = _identities(address, options, deadline)
    if found is None:
        dial = partial(_dial, address, record, options, deadline, ticket, passage)
        login = await _first_login(dial, address, keys, deadline, options.touch)
        await ticket.renew(login.accepted)
        if place is not None:
            offer_connection(place, request, login)
    else:
        login = found
    if passage is not None and options.helper != "no":
        start_helper(address)
    again = partial(_tls_login, address, record, keys.for_reconnect(login.identity), options, ticket, passage)
    return FirstLogin(login, again)


async def login_of_lost(address: Address, options: ConnectOptions, deadline: ConnectDeadline) -> LogInAgain:
    """Return how to log in again at an address at which another part of this program has logged in."""
    if address.socket is not None:
        return partial(_socket_login, address, options, None)
    if address.ssh:
        return _ssh_login_again(address, options)
    record, ticket = _trusted(options.known_hosts, address)
    again = _identities(address, options, deadline).for_reconnect(None)
    again.accepted_before = True
    return partial(_tls_login, address, record, again, options, ticket, None)


def _trusted(known_hosts: Path | None, address: Address) -> tuple[KnownHosts, ReturnTicket]:
    from .trust.known_hosts import KnownHosts

    record = KnownHosts(known_hosts or config_directory() / "known_hosts")
    return record, ReturnTicket(state_directory(), address, address.user or local_user())


async def _socket_login(address: Address, options: ConnectOptions, passage: Passage | None) -> LoginResult:
    async with connect_deadline(options.timeout) as deadline:
        keepalive = None if passage is None else options.keepalive
        return await log_in(await dial_socket(address, keepalive, deadline, passage), address, None, deadline)


def _ssh_login_again(address: Address, options: ConnectOptions) -> LogInAgain:
    # A connection of its own first: a shared one may be what was lost. But perhaps only that one asks for no password.
    own = itertools.cycle((True, False))

    async def log_in_again() -> LoginResult:
        from .connection.dial_ssh import dial_ssh

        async with connect_deadline(options.timeout) as deadline:
            dialled = await dial_ssh(address, options.keepalive, deadline, own=next(own))
            return await log_in(dialled, address, None, deadline)

    return log_in_again


async def _tls_login(
    address: Address,
    record: KnownHosts,
    identities: Identities,
    options: ConnectOptions,
    ticket: ReturnTicket,
    passage: Passage | None,
) -> LoginResult:
    """Connect and log in without asking the user anything. The caller tries again if that fails."""
    async with connect_deadline(options.timeout) as deadline:
        dialled = await dial_tls(address, record, options.keepalive, deadline, await ticket.load(), passage)
        login = await log_in(dialled, address, identities.afresh(), deadline, options.touch)
    identities.accepted(login.identity)
    await ticket.renew(login.accepted)
    return login


async def _dial(
    address: Address,
    record: KnownHosts,
    options: ConnectOptions,
    deadline: ConnectDeadline,
    ticket: ReturnTicket,
    passage: Passage | None,
) -> DialledSession:
    shown = await ticket.load()
    try:
        return await dial_tls(address, record, options.keepalive, deadline, shown, passage)
    except HostKeyUnknown as error:
        confirm = options.confirm
        if not options.accept_new and (confirm is None or not await deadline.person(confirm(error))):
            raise
        await record_host_key(record, address, error.key, deadline)
    # On a new connection: the user may have taken longer to decide than the service waits for a login.
    return await dial_tls(address, record, options.keepalive, deadline, shown, passage)


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


def _identities(address: Address, options: ConnectOptions, deadline: ConnectDeadline) -> Identities:
    from .trust.agent import Agent
    from .trust.identities import Identities, default_key_files

    passphrase, config = options.passphrase, options.config

    async def ask(prompt: str) -> str | None:
        assert passphrase is not None
        return await deadline.person(passphrase(prompt))

    home = home_directory()
    return Identities(
        named=options.named or address.identities,
        agent=Agent.from_environment(os.environ if address.agent is None else {"SSH_AUTH_SOCK": address.agent}),
        own=(*address.preferred, *(() if config is None else default_key_files(config))),
        usual=() if home is None else default_key_files(home / ".ssh"),
        ask=ask if passphrase is not None else None,
    )
