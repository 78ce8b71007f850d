"""The core's Unix sockets. While a listener is paused its socket stays, and clients wait in the kernel's backlog."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

UNIX_BACKLOG: Final = 256
"""Connections that wait to be accepted: an edge may open that many at once, and a Unix socket refuses the next one with
EAGAIN (unix(7)). The kernel caps it at somaxconn. `create_unix_server` calls listen(2) again and needs it, too."""

SOCKET_BUFFER: Final = 1 << 20
"""Bytes of an accepted socket's send buffer, where net.core.wmem_max allows: one turn of the loop writes more than the
default of 208 KiB, and core and peer would wake each other for the rest. Accepted sockets do not inherit it."""

_UCRED: Final = struct.Struct("=iII")


class ListenError(Exception):
    """A socket cannot be listened on; the text says which, why and what to do."""


class UnixListener:
    """One listening socket; `make_protocol` is called for each connection that is accepted."""

    def __init__(self, path: Path, make_protocol: Callable[[], asyncio.BaseProtocol], fd: int | None = None) -> None:
        """Listen at `path`, or continue with the listening socket `fd`. Raises `ListenError`."""
        self._make_protocol = make_protocol
        self._socket = bind_unix(path, 0o666) if fd is None else socket.socket(fileno=fd)
        # The configuration may name another path meanwhile; that one is for the next start.
        self.path = path if fd is None else Path(self._socket.getsockname())
        self._closed = False
        self._server: asyncio.Server | None = None

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""
        return self._socket.fileno()

    async def open(self) -> None:
        """Accept new clients, and those that wait in the backlog."""
        if self._server is not None:
            return
        # asyncio closes the socket with its server, and this one is kept.
        copy = self._socket.dup()
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                self._make_protocol, sock=copy, backlog=UNIX_BACKLOG
            )
        except BaseException:
            copy.close()
            raise

    def pause(self) -> None:
        """Stop accepting; clients wait in the backlog. `open` continues."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """Stop listening permanently and remove the socket's file; a second call does nothing."""
        # The file first: once nobody listens, another service may put a socket of its own there, which must be kept.
        if not self._closed:
            self.path.unlink(missing_ok=True)
        self._closed = True
        self.pause()
        self._socket.close()


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """Return the uid of the peer of a Unix socket, as it was when it connected (SO_PEERCRED, unix(7))."""
    connected: socket.socket = transport.get_extra_info("socket")
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return cast(int, _UCRED.unpack(credentials)[1])


def enlarge_buffer(transport: asyncio.BaseTransport) -> None:
    """Give a Unix socket a send buffer that is large enough for bulk output."""
    connected: socket.socket = transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)


def bind_unix(path: Path, mode: int) -> socket.socket:
    """Return a socket that listens at `path` with this mode; one that a dead service has left behind is replaced.

    Raises `ListenError`, also if a running service listens there already.
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
