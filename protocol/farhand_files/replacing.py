"""Puts files and links in the place of directories, which `delete` allows.

What was in such a directory may be much, and is deleted as everything else is: at the end, if all else has worked.
Until then it has another name, beside its place. That is no name of a temporary file: should it stay, because something
has failed or the transfer was killed, the next transfer with `delete` removes it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
from typing import Final, NamedTuple

from .opening import Directory

MAX_MOVED: Final = 4096
"""Directories that are replaced in one transfer, up to 32 MiB of paths; each is a change of kind, and such are few."""

MOVED_PREFIX: Final = b".farhand-replaced-"

_EXCHANGE: Final = 2  # RENAME_EXCHANGE, renameat2(2)
_libc: Final = ctypes.CDLL(None, use_errno=True)


class MovedDirectory(NamedTuple):
    """A directory that something else has replaced: where it is now, and where it was, in components."""

    now: tuple[bytes, ...]
    before: tuple[bytes, ...]


class MovedDirectories:
    """The directories that were replaced. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moved: dict[bytes, MovedDirectory] = {}

    def replace(self, directory: Directory, name: bytes, place: tuple[bytes, ...]) -> None:
        """Rename what is called `name` in a directory to the last component of `place`, where a directory may be.
        Raises OSError."""
        target = place[-1]
        try:
            os.rename(name, target, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
            return
        except (IsADirectoryError, FileExistsError):
            pass
        aside = MOVED_PREFIX + os.urandom(4).hex().encode()
        with self._lock:
            if len(self._moved) >= MAX_MOVED:
                raise OSError(errno.EMLINK, f"more than {MAX_MOVED} directories would be replaced")
            self._moved[aside] = MovedDirectory((*place[:-1], aside), place)
        try:
            _exchange(directory, name, target, aside)
        except OSError:
            with self._lock:
                del self._moved[aside]
            raise

    def has(self, name: bytes) -> bool:
        """Return whether a directory that was replaced has this name now."""
        return name.startswith(MOVED_PREFIX) and name in self._moved

    def all(self) -> list[MovedDirectory]:
        """Return them, once nothing more is replaced."""
        with self._lock:
            return list(self._moved.values())


def _exchange(directory: Directory, name: bytes, target: bytes, aside: bytes) -> None:
    """Give `name` the name of the target, and the target the name `aside`: at no instant there is neither, where the
    kernel and the file system can do that. Raises OSError."""
    fd = directory.fd
    if sys.platform == "linux" and hasattr(_libc, "renameat2"):
        os.rename(name, aside, src_dir_fd=fd, dst_dir_fd=fd)
        if _libc.renameat2(fd, aside, fd, target, _EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        os.rename(aside, name, src_dir_fd=fd, dst_dir_fd=fd)
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number))
    os.rename(target, aside, src_dir_fd=fd, dst_dir_fd=fd)
    try:
        os.rename(name, target, src_dir_fd=fd, dst_dir_fd=fd)
    except OSError:
        os.rename(aside, target, src_dir_fd=fd, dst_dir_fd=fd)
        raise
