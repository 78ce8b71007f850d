"""Borrows a connection from the user's helper, and offers it those that a command has made itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from farhand_client.blocking import run_blocking
from farhand_client.config import helper_configured, home_directory, state_directory
from farhand_client.errors import FarhandError
from farhand_client.mux import ask, start
from farhand_client.mux.place import HelperPlace, helper_place, mux_allowed
from farhand_client.mux.request import ConnectionRequest, absolute
from farhand_client.times import MAX_SIGNING_TIME

from .address import Address
from .deadline import ConnectDeadline
from .dial import DialledSession
from .login import LoginResult, local_user, log_in
from .session import ClientSession

if TYPE_CHECKING:
    from farhand_client.trust.identities import Identity

LENT_LOGIN_TIMEOUT: Final = 1.0
"""Seconds in which `welcome` and `accepted` have to arrive on a borrowed connection. They have been sent already."""


def connection_request(
    address: Address, named: Sequence[Path], config: Path | None, known_hosts: Path | None
) -> ConnectionRequest:
    """Return what the helper is asked for. It must say everything by which connections differ.

    `named` are the key files that are named, `config` is the configuration directory.
    """
    return ConnectionRequest(
        host=os.fsencode(address.host),
        port=b"%d" % address.port,
        user=_bytes(address.user or local_user()),
        known_hosts=_path(known_hosts),
        config=_path(config),
        home=_path(home_directory()),
        agent=_bytes(os.environ.get("SSH_AUTH_SOCK") if address.agent is None else address.agent),
        state=_path(state_directory()),
        identities=[_path(path) for path in named or address.preferred],
    )


async def borrowed_login(
    place: HelperPlace,
    request: ConnectionRequest,
    address: Address,
    keepalive: float | None,
    deadline: ConnectDeadline,
) -> LoginResult | None:
    """Return a session on a borrowed connection; None if the helper has none that is ready."""
    try:
        borrowed = await run_blocking(ask.borrow, place, request)
        if borrowed is None:
            return None
        session = ClientSession(str(address), keepalive, borrowed=True)
        connected = socket.socket(fileno=borrowed.detach())
        await asyncio.get_running_loop().create_unix_connection(session.make_transport, sock=connected)
        async with asyncio.timeout(LENT_LOGIN_TIMEOUT):
            return await log_in(DialledSession(session), address, None, deadline)
    except (FarhandError, OSError):  # among them TimeoutError
        return None


def offer_connection(place: HelperPlace, request: ConnectionRequest, login: LoginResult) -> None:
    """Let the helper make such a connection, too, in the background. The end of the process waits until it is told."""
    identity = _usable_unasked(login.identity)
    if identity is None or login.signing > MAX_SIGNING_TIME:
        return
    request.identity = identity
    try:
        threading.Thread(target=start.offer_or_start, args=(place, request), name="farhand helper").start()
    except RuntimeError:
        return  # no more threads: then without the helper


def start_helper(address: Address) -> None:
    """Start the helper in the background, if there is none, for its processes alone: for an address at which it keeps
    no connection ready."""
    place = helper_place() if mux_allowed(address.mux) else None
    configured = helper_configured if address.socket is not None else lambda: True
    if place is not None:
        with contextlib.suppress(RuntimeError):  # no more threads: then without the helper
            threading.Thread(target=start.start_if_none, args=(place, configured), name="farhand helper").start()


def _usable_unasked(identity: Identity | None) -> bytes | None:
    """Return how a key is named in an offer, empty if none was needed; None if somebody has to be asked for it."""
    if identity is None:
        return b""
    from farhand_client.trust.identities import AgentIdentity
    from farhand_client.trust.keyfile import KeyFile

    if isinstance(identity, KeyFile) and not identity.encrypted:
        return b"FILE:" + _path(identity.path)
    if isinstance(identity, AgentIdentity) and identity.public_key.application is None:
        return b"AGENT:" + identity.public_key.blob.hex().encode()
    return None


def _path(path: Path | None) -> bytes:
    return b"" if path is None else absolute(bytes(path))


def _bytes(text: str | None) -> bytes:
    return os.fsencode(text or "")
