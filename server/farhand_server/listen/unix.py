"""The core's Unix sockets. A paused listener keeps its socket, and clients wait in the kernel's backlog."""

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
"""Connections that may wait to be accepted. An edge may open that many at once, and a Unix socket refuses the next one
with EAGAIN (unix(7)). The kernel caps the number at somaxconn. `create_unix_server` calls listen(2) again, so it needs
the number, too."""

SOCKET_BUFFER: Final = 1 << 20
"""Size in bytes of an accepted socket's send buffer, if net.core.wmem_max allows it. One turn of the loop writes more
than the default of 208 KiB, and core and peer would have to wake each other for the rest. Accepted sockets do not
inherit the size from the listening socket."""

_UCRED: Final = struct.Struct("=iII")


class ListenError(Exception):
    """A socket cannot be listened on. The text says which one, why, and what to do."""


class UnixListener:
    """One listening socket. `make_protocol` is called for each accepted connection."""

    def __init__(self, path: Path, make_protocol: Callable[[], asyncio.BaseProtocol], fd: int | None = None) -> None:
        """Listen at `path`, or continue with the listening socket `fd`. Raises `ListenError`."""
        self._make_protocol = make_protocol
        self._socket = bind_unix(path, 0o666) if fd is None else socket.socket(fileno=fd)
        # The configuration may meanwhile name another path, which is used from the next start.
        self.path = path if fd is None else Path(self._socket.getsockname())
        self._closed = False
        self._server: asyncio.Server | None = None

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""
        return self._socket.fileno()

    async def open(self) -> None:
        """Start accepting clients, including those that wait in the backlog."""
        if self._server is not None:
            return
        # asyncio closes a server's socket together with the server; the original must stay open.
        copy = self._socket.dup()
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                self._make_protocol, sock=copy, backlog=UNIX_BACKLOG
            )
        except BaseException:
            copy.close()
            raise

    def pause(self) -> None:
        """Stop accepting; clients wait in the backlog until the next call of `open`."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """Stop listening permanently, and remove the socket's file. Repeated calls do nothing."""
        # Remove the file first: once nobody listens, another service may create its own socket there, which must be
        # kept.
        if not self._closed:
            self.path.unlink(missing_ok=True)
        self._closed = True
        self.pause()
        self._socket.close()


def peer_uid(transport: asyncio.BaseTransport) -> int:
    """Return the uid that the peer of a Unix socket had when it connected (SO_PEERCRED, unix(7))."""
    connected: socket.socket = transport.get_extra_info("socket")
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return cast(int, _UCRED.unpack(credentials)[1])


def enlarge_buffer(transport: asyncio.BaseTransport) -> None:
    """Enlarge a Unix socket's send buffer for bulk output."""
    connected: socket.socket = transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)


def bind_unix(path: Path, mode: int) -> socket.socket:
    """Return a socket that listens at `path` with this file mode. Replaces a socket that a dead service has left
    behind.

    Raises `ListenError`, for instance if a running service already listens there.
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
            raise ListenError(f"cannot listen on {path}: a file that is not a socket exists there; remove it")
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
    raise ListenError(f"cannot listen on {path}: a service is already listening there")
