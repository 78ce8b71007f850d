"""The core's Unix sockets: shut, they stay, and whoever comes waits in the kernel until they are open again.

The core's Unix sockets, and the local clients on one of them, whom the kernel names.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from farhand_protocol.transport import ConnectionTransport

from ..admission.caller import Caller
from ..auth.principal import peer_principal, user_name
from ..connection.context import Core
from ..connection.session import ServerSession
from ..logs import Logger
from ..policy import concerns

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class UnixListener:
    """One listening socket and who is made for each connection."""

    def __init__(self, path: Path, welcome: ProtocolFactory, taken: int | None = None) -> None:
        """Listen at `path`, or go on with a socket that is `taken` over. Raises `ListenError`."""
        self._welcome = welcome
        self._socket = bind_unix(path, 0o666) if taken is None else socket.socket(fileno=taken)
        # The configuration may name another by now, which is for the next start.
        self.path = path if taken is None else Path(self._socket.getsockname())
        self._closed = False
        self._server: asyncio.Server | None = None

    def fileno(self) -> int:
        """The listening socket."""
        return self._socket.fileno()

    async def open(self) -> None:
        """Take who comes, and who has waited."""
        if self._server is not None:
            return
        # asyncio closes with its server what it listens on; ours stays.
        copy = self._socket.dup()
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                self._welcome, sock=copy, backlog=UNIX_BACKLOG
            )
        except BaseException:
            copy.close()
            raise

    def shut(self) -> None:
        """Take nobody; they wait."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """Be gone; a second time nothing happens."""
        # The path first: once nobody listens there, another service may take it, and that one's must stay.
        if not self._closed:
            self.path.unlink(missing_ok=True)
        self._closed = True
        self.shut()
        self._socket.close()


UNIX_BACKLOG: Final = 256
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


def bind_unix(path: Path, mode: int) -> socket.socket:
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
            listening.listen(UNIX_BACKLOG)
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


class LocalConnection(ConnectionTransport):
    """A local client's connection, without a key: the kernel says who it is.

    The service's own account is let in, and root, as that account. With root's service others are let in as themselves
    where the policy has a rule about them.
    """

    def __init__(self, core: Core, log: Logger) -> None:
        self._core = core
        self._session = ServerSession(core, log)
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
