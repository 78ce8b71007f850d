"""The core's Unix sockets. A paused listener keeps its socket, and clients wait in the kernel's backlog.

A listener knows its socket's file by device and inode number. It makes a file that was removed again, and never touches
a file that is not its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from ..acceptor import Acceptor
from ..filewatch import file_id
from ..throttle import LogThrottle

UNIX_BACKLOG: Final = 256
"""Connections that may wait to be accepted. An edge may open that many at once, and a Unix socket refuses the next one
with EAGAIN (unix(7)). The kernel caps the number at somaxconn."""

SOCKET_BUFFER: Final = 1 << 20
"""Size in bytes of an accepted socket's send buffer, if net.core.wmem_max allows it. One turn of the loop writes more
than the default of 208 KiB, and core and peer would have to wake each other for the rest. Accepted sockets do not
inherit the size from the listening socket."""


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Who may connect to a socket: its file's `mode`, and the uid to which the file belongs (None: the service's)."""

    mode: int
    owner: int | None = None


OPEN_TO_ALL: Final = SocketAccess(0o666)
"""Anyone may connect: the kernel tells who the peer is, and the core decides."""


def only(uid: int) -> SocketAccess:
    """Return access for a single account, as far as this process can give it.

    Only root can give a file to another account. Without root, such a socket is open to everybody, and each peer is
    judged when it is accepted.
    """
    if uid == os.geteuid():
        return SocketAccess(0o600)
    return SocketAccess(0o600, uid) if os.geteuid() == 0 else OPEN_TO_ALL


_UCRED: Final = struct.Struct("=iII")

Serve = Callable[[socket.socket, asyncio.BaseProtocol], None]

Admit = Callable[[socket.socket, int, Serve], None]
"""Decides about an accepted socket, whose peer has this uid: serves it with a protocol, now or later, or closes it."""


class ListenError(Exception):
    """A socket cannot be listened on. The text says which one, why, and what to do."""


class PathTaken(ListenError):
    """Another service listens there."""


class UnixListener:
    """One listening socket. `admit` decides about each connection before anything is allocated for it, so whoever
    connects without end costs little."""

    def __init__(
        self,
        path: Path,
        admit: Admit,
        fd: int | None = None,
        *,
        access: SocketAccess = OPEN_TO_ALL,
        log: LogThrottle | None = None,
    ) -> None:
        """Listen at `path`, or continue with the listening socket `fd`. Raises `ListenError`."""
        self._admit = admit
        self._log = log
        self._socket = bind_unix(path, access) if fd is None else socket.socket(fileno=fd)
        # The configuration may meanwhile name another path, which is used from the next start.
        self.path = path if fd is None else Path(self._socket.getsockname())
        self._file = file_id(self.path) if fd is None or _leads_to_us(self.path) else None
        self._access = access
        if fd is not None:
            self.set_access(access)
        self._directories = _existing_directories(self.path)
        self._closed = False
        self._acceptor: Acceptor | None = None
        self._connecting: set[asyncio.Task[object]] = set()

    def set_access(self, access: SocketAccess) -> None:
        """Let only those connect whom `access` admits, from now on. Connections that were accepted are not affected."""
        self._access = access
        if self.intact:
            with contextlib.suppress(OSError):  # it was replaced this very moment, and will be restored
                _set_access(self.path, access)

    @property
    def intact(self) -> bool:
        """Whether clients that connect to the path reach this listener."""
        return self._file is not None and self._file == file_id(self.path)

    async def restore(self) -> None:
        """Make the socket's file again, with its directories, and listen there. Raises `ListenError`.

        Another service's socket at the path is left alone. Connections that were accepted are not affected.
        """
        try:
            _make_directories(self.path, self._directories)
        except OSError as error:
            raise ListenError(
                f"cannot listen on {self.path} again: {error.filename}: {error.strerror}; make the directory "
                f"{self.path.parent}, as this service's account, and the service listens there again"
            ) from None
        try:
            fresh = bind_unix(self.path, self._access)
        except PathTaken as error:
            raise PathTaken(f"{error}; when it has ended and left its socket behind, reload this one") from None
        (old, self._socket), self._file = (self._socket, fresh), file_id(self.path)
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is not None:
            acceptor.accept_waiting()
            acceptor.close()
            await self.open()
        old.close()

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""
        return self._socket.fileno()

    async def open(self) -> None:
        """Start accepting clients, including those that wait in the backlog."""
        if self._acceptor is None:
            loop = asyncio.get_running_loop()
            self._acceptor = Acceptor(loop, [self._socket], self._accepted, self._log)
            self._acceptor.start()

    def _accepted(self, sock: socket.socket, _: object) -> None:
        self._admit(sock, socket_peer_uid(sock), self._serve)

    def _serve(self, sock: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        loop = asyncio.get_running_loop()
        task: asyncio.Task[object] = loop.create_task(loop.connect_accepted_socket(lambda: protocol, sock))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def pause(self) -> None:
        """Stop accepting; clients wait in the backlog until the next call of `open`."""
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is not None:
            acceptor.stop()

    def withdraw(self) -> None:
        """Remove the socket's file. Clients that have connected are still accepted."""
        if self.intact:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop listening permanently, and remove the socket's file. Repeated calls do nothing."""
        if not self._closed:
            self.withdraw()
        self._closed = True
        self.pause()
        self._socket.close()


def socket_peer_uid(connected: socket.socket) -> int:
    """Return the uid that the peer of a connected Unix socket had when it connected (SO_PEERCRED, unix(7))."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return cast(int, _UCRED.unpack(credentials)[1])


def socket_peer_pid(connected: socket.socket) -> int:
    """Return the pid of the process that has connected a Unix socket (SO_PEERCRED, unix(7))."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return cast(int, _UCRED.unpack(credentials)[0])


def enlarge_buffer(transport: asyncio.BaseTransport) -> None:
    """Enlarge a Unix socket's send buffer for bulk output."""
    connected: socket.socket = transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)


def bind_unix(path: Path, access: SocketAccess) -> socket.socket:
    """Return a socket that listens at `path` for those whom `access` admits. Replaces a socket that a dead service has
    left behind.

    Raises `ListenError`, for instance if a running service already listens there.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(os.fspath(path))
            _set_access(path, access)
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
        # A service that does not accept must not stop this one: a full backlog is an answer, too.
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except PermissionError:
            raise PathTaken(
                f"cannot listen on {path}: a socket of another account exists there; remove it if no service uses it"
            ) from None
        except OSError:
            pass
    raise PathTaken(f"cannot listen on {path}: a service is already listening there")


def _set_access(path: Path, access: SocketAccess) -> None:
    """Change mode and owner of a socket's file. Raises OSError if it was replaced, by a symbolic link for instance."""
    # chmod(2) would follow the link, and open(2) with O_PATH is the only way to open a socket.
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.EEXIST, "it was replaced by another file")
        if access.owner is not None:
            os.chown(f"/proc/self/fd/{fd}", access.owner, -1)
        os.chmod(f"/proc/self/fd/{fd}", access.mode)  # noqa: PTH101  # no path names the file that was opened
    finally:
        os.close(fd)


def _leads_to_us(path: Path) -> bool:
    """Return whether this process listens at the path. An upgrade keeps the process (SO_PEERCRED, unix(7))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True  # a full backlog: the clients that the previous program has left waiting
        except OSError:
            return False
        return socket_peer_pid(probe) == os.getpid()


def _existing_directories(path: Path) -> dict[Path, os.stat_result]:
    """Return the directories above a path, with what is needed to make them again."""
    found = {}
    for directory in path.parents:
        with contextlib.suppress(OSError):
            found[directory] = directory.stat()
    return found


def _make_directories(path: Path, before: Mapping[Path, os.stat_result]) -> None:
    """Make the missing directories above a path as they were. Raises OSError and `ListenError`."""
    for directory in reversed(path.parents):
        was = before.get(directory)
        try:
            directory.mkdir(0o700)
        except FileExistsError:
            continue
        except OSError:
            if directory.is_dir():
                continue  # a read-only file system, for instance
            raise
        if was is not None:
            _restore_owner(directory, was)
    owner, was = path.parent.stat().st_uid, before.get(path.parent)
    if owner not in (0, os.geteuid(), None if was is None else was.st_uid):
        raise ListenError(
            f"cannot listen on {path} again: its directory now belongs to uid {owner}, who could replace the socket; "
            "remove the directory, and the service makes it again"
        )


def _restore_owner(directory: Path, was: os.stat_result) -> None:
    """Give a directory that was just made its former mode and owner. Raises OSError."""
    # Whoever may write to the directory above could have replaced it by a symbolic link to any other.
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it was replaced by somebody else", os.fspath(directory))
        os.fchmod(fd, stat.S_IMODE(was.st_mode))
        with contextlib.suppress(PermissionError):  # only root can give a directory to somebody else
            os.fchown(fd, was.st_uid, was.st_gid)
    finally:
        os.close(fd)
