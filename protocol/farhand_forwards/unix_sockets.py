"""Makes listening Unix sockets, and removes those that a killed process has left behind.

A socket is only for its user (mode 0600). It replaces one that a program which is gone has left behind, and never
anything else; its file is removed at the end if it is still ours.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from itertools import islice
from typing import Final

from .targets import MAX_UNIX_PATH

LISTEN_BACKLOG: Final = 1024
"""Connections that may wait to be accepted; the kernel caps it at somaxconn. A thousand may begin at once."""

OWN_DIRECTORY: Final = "farhand-agent-"
"""How the names of directories begin that are made for one socket, such as an agent's."""

LEFT_AGE: Final = 60.0
"""Seconds after which a socket that nobody listens on counts as left behind. One that is being made is milliseconds
old."""

MAX_LOOKED_AT: Final = 10_000
"""Entries of the directory above that are looked at: some milliseconds. Beyond that, what was left behind stays."""


class UnixPlace:
    """Where a socket is made: `path`. With the descriptor `directory`, it is made in that open directory, whatever is
    at its path by now; the descriptor is closed at the end."""

    def __init__(self, path: bytes, directory: int = -1, *, own_directory: bool = False) -> None:
        self.path: Final = path
        self._directory = directory
        self._own_directory = own_directory
        self._file: tuple[int, int] | None = None

    @classmethod
    def in_own_directory(cls) -> UnixPlace:
        """Return a place in a new directory, which is only for this user, and is removed at the end. Raises OSError."""
        import tempfile  # 7 ms, which most never need

        above = _runtime_directory()
        remove_left_sockets(above)
        directory = os.fsencode(tempfile.mkdtemp(prefix=OWN_DIRECTORY, dir=above))
        return cls(os.path.join(directory, b"socket"), own_directory=True)

    def bind(self) -> socket.socket:
        """Return a socket that listens here, only for this user. Raises OSError; call `close` then, too."""
        if len(self.path) > MAX_UNIX_PATH:
            raise OSError(errno.ENAMETOOLONG, f"the path has {len(self.path)} bytes; {MAX_UNIX_PATH} can be")
        path = self._reached
        _remove_dead(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            os.fchmod(listening.fileno(), 0o600)  # Linux gives the file the mode of the socket (unix_bind)
            listening.bind(path)
            listening.listen(LISTEN_BACKLOG)
            self._file = _file_at(path)
        except BaseException:
            listening.close()
            raise
        return listening

    def close(self) -> None:
        """Remove the socket's file if it is still ours."""
        with contextlib.suppress(OSError):
            if self._file is not None and _file_at(self._reached) == self._file:
                os.unlink(self._reached)
        if self._own_directory:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(self.path))
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    @property
    def _reached(self) -> bytes:
        if self._directory < 0:
            return self.path
        return b"/proc/self/fd/%d/%s" % (self._directory, os.path.basename(self.path))


def remove_left_sockets(above: str) -> None:
    """Remove the directories below `above` that killed processes of this user have left behind (`OWN_DIRECTORY`)."""
    with contextlib.suppress(OSError), os.scandir(above) as entries:
        for entry in islice(entries, MAX_LOOKED_AT):
            if entry.name.startswith(OWN_DIRECTORY):
                with contextlib.suppress(OSError):
                    _remove_left(os.fsencode(entry.path), entry.stat(follow_symlinks=False))


def _remove_left(directory: bytes, status: os.stat_result) -> None:
    old = time.time() - status.st_mtime >= LEFT_AGE
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and old:
        _remove_dead(os.path.join(directory, b"socket"))
        os.rmdir(directory)


def _file_at(path: bytes) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _remove_dead(path: bytes) -> None:
    """Remove the socket at `path` that nobody listens on, if there is one. Raises OSError if anything else is there."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EADDRINUSE, "a file that is not a socket exists there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass  # whatever it is, it lives: its queue is full, for instance, or this user may not connect
    raise OSError(errno.EADDRINUSE, "another program listens there")


def _runtime_directory() -> str:
    found = os.environ.get("XDG_RUNTIME_DIR", "")
    return found if os.path.isabs(found) and os.access(found, os.W_OK | os.X_OK) else "/tmp"  # nosec B108  # mkdtemp
