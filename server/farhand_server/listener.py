"""The core's Unix sockets, and the local clients on one of them, whom the kernel names."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final, cast

from farhand_protocol.transport import ConnectionTransport

from .auth.principal import peer_principal, user_name
from .channels.caller import Caller
from .core import Core
from .logs import Logger
from .policy import concerns
from .session import Session

BACKLOG: Final = 256
"""Connections that wait to be accepted: an edge may bring that many at once, and a Unix socket refuses the next one
with EAGAIN (unix(7)). The kernel caps it at somaxconn. `create_unix_server` listens anew, and has to be told, too."""

SOCKET_BUFFER: Final = 1 << 20
"""Bytes of the buffers of an accepted socket, where net.core.wmem_max allows: the default of 208 KiB is less than one
turn writes, and makes the core and its peer wake each other for the rest. Accepted sockets do not inherit it."""

_UCRED: Final = struct.Struct("=iII")


class ListenError(Exception):
    """The socket cannot be listened on; the text says which, why and what to do."""


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """Return the uid at the other end of a Unix socket, as it was when it connected (SO_PEERCRED, unix(7))."""
    connected: socket.socket = transport.get_extra_info("socket")
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return cast(int, _UCRED.unpack(credentials)[1])


def enlarge(transport: asyncio.BaseTransport) -> None:
    """Give a Unix socket as large a buffer for sending as bulk output can use."""
    connected: socket.socket = transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)


def bind(path: Path, mode: int) -> socket.socket:
    """Return a socket that listens at `path` with that mode; one left behind by a dead service is replaced.

    Raises `ListenError`, also where a living service listens there already.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(os.fspath(path))
            path.chmod(mode)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from None
    listening.setblocking(False)
    return listening


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenError(f"cannot listen on {path}: something that is not a socket is there; remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass
    raise ListenError(f"cannot listen on {path}: a service is listening there already")


class LocalClient(ConnectionTransport):
    """A local client's connection, without a key: the kernel says who it is.

    The service's own account is let in, and root, as that account. With root's service others are let in as themselves
    where the policy has a rule about them.
    """

    def __init__(self, core: Core, log: Logger) -> None:
        self._core = core
        self._session = Session(core, log)
        super().__init__(self._session.connection, self._session)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.BaseProtocol."""
        own = os.geteuid()
        principal = peer_principal(peer_uid(transport) or own)
        enlarge(transport)
        super().connection_made(transport)
        if principal.uid == own or (own == 0 and concerns(self._core.policy, Caller.of(principal).subject)):
            self._session.principal = principal
        else:
            sentence = f"this service is for the account {user_name(own)}, and you are {principal.user}"
            self._session.deny(principal, sentence)
