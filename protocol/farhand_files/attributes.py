"""Sets the attributes of what was received: owner, extended attributes, mode, times."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from typing import Final, NamedTuple

from . import wire
from .opening import Directory
from .options import TransferOptions

_KEPT_XATTRS: Final = (b"user.", b"system.posix_acl_")
"""Others grant privileges (security.capability), or belong to a file system. None of them is accepted."""

MAX_OWNER_ID: Final = (1 << 32) - 2
"""The largest number of a user or group: the next one means none."""

_PROC: Final = os.path.isdir("/proc/self/fd")
_UNSUPPORTED: Final = (errno.ENOTSUP, errno.EOPNOTSUPP)


class OwnerIds(NamedTuple):
    """User and group, -1 for those that stay as they are."""

    uid: int = -1
    gid: int = -1


def owner_of(options: TransferOptions) -> OwnerIds:
    """Return who owns what is written. Raises OSError: there is no such user or group."""
    user, _, group = options.owner.partition(":")
    return OwnerIds(_number(user, "user"), _number(group, "group"))


def _number(name: str, what: str) -> int:
    if not name:
        return -1
    if name.isdecimal() and name.isascii():
        number = int(name)
        if number > MAX_OWNER_ID:
            raise OSError(errno.EINVAL, f"there is no {what} {name}; the largest number is {MAX_OWNER_ID}")
        return number
    import grp
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid if what == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise OSError(errno.EINVAL, f"there is no {what} {name!r} on this machine") from None


class Attributes:
    """Sets attributes as the options say."""

    def __init__(self, options: TransferOptions) -> None:
        """Raises OSError: there is no such owner."""
        self._owner = owner_of(options)
        self._times = options.times
        self._xattrs = options.xattrs

    def differ(self, status: os.stat_result, place: bytes, packed: bytes) -> bool:
        """Return whether what is there has another owner than requested, or lacks some of the extended attributes.
        `place` is its path. Raises `wire.WireError`."""
        uid, gid = self._owner
        if uid not in (-1, status.st_uid) or gid not in (-1, status.st_gid):
            return True
        if not self._xattrs or sys.platform != "linux" or stat.S_ISLNK(status.st_mode):
            return False
        for name, value in wire.unpack_xattrs(packed):
            if name.startswith(_KEPT_XATTRS):
                try:
                    if os.getxattr(place, name, follow_symlinks=False) != value:
                        return True
                except OSError as error:
                    if error.errno not in _UNSUPPORTED:
                        return True
        return False

    def set_for_file(self, fd: int, mode: int, mtime: int, xattrs: bytes) -> None:
        """Set those of an open file. Raises OSError, `wire.WireError`."""
        if self._owner != (-1, -1):
            os.fchown(fd, *self._owner)
        if xattrs:
            self.set_xattrs(fd, xattrs)
        os.fchmod(fd, mode)
        if self._times:
            os.utime(fd, ns=(time.time_ns(), mtime))

    def set_for_symlink(self, directory: Directory, name: bytes, mtime: int) -> None:
        """Set those of a symbolic link. Raises OSError."""
        if self._owner != (-1, -1):
            os.chown(name, *self._owner, dir_fd=directory.fd, follow_symlinks=False)
        if self._times:
            with contextlib.suppress(NotImplementedError):
                os.utime(name, ns=(time.time_ns(), mtime), dir_fd=directory.fd, follow_symlinks=False)

    def set_for_directory(self, directory: Directory, mode: int, mtime: int) -> None:
        """Set mode and time of an open directory, if they differ. It keeps its setgid and sticky bit, which it has from
        whoever made it or from the directory above it, and never from the other side. Raises OSError."""
        status = os.fstat(directory.fd)
        if stat.S_ISDIR(status.st_mode):
            mode |= status.st_mode & (stat.S_ISGID | stat.S_ISVTX)
        with _Usable(directory) as place:
            if status.st_mode & 0o7777 != mode:
                os.chmod(place, mode)
            if self._times and status.st_mtime_ns != mtime:
                os.utime(place, ns=(time.time_ns(), mtime))

    def set_for_new_directory(self, directory: Directory, xattrs: bytes) -> None:
        """Set the owner and extended attributes of an open directory, or of a file that stays. Raises OSError,
        `wire.WireError`."""
        with _Usable(directory) as place:
            if self._owner != (-1, -1):
                os.chown(place, *self._owner)
            if xattrs:
                self.set_xattrs(place, xattrs)

    def set_xattrs(self, place: int | bytes, packed: bytes) -> None:
        """Set extended attributes, if they were requested and the file system has any. Raises OSError,
        `wire.WireError`."""
        if not self._xattrs or sys.platform != "linux":
            return
        for name, value in wire.unpack_xattrs(packed):
            if not name.startswith(_KEPT_XATTRS):
                continue
            try:
                os.setxattr(place, name, value)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise


def make_usable(directory: Directory) -> None:
    """Let the owner of an open directory use it until its final mode is set. Raises OSError."""
    mode = os.fstat(directory.fd).st_mode & 0o7777
    if mode & 0o700 != 0o700:
        with _Usable(directory) as place:
            os.chmod(place, mode | 0o700)


class _Usable:
    """What is held open, in a form that chmod and the like accept: they refuse descriptors of O_PATH."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._fd = -1

    def __enter__(self) -> int | bytes:
        if _PROC:
            return b"/proc/self/fd/%d" % self._directory.fd
        if not hasattr(os, "O_PATH"):
            return self._directory.fd
        self._fd = self._directory.readable()
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def kept_xattrs(path: bytes, *, follow: bool) -> list[tuple[bytes, bytes]]:
    """Return the extended attributes of a file that a transfer keeps. Raises OSError."""
    names = map(os.fsencode, os.listxattr(path, follow_symlinks=follow))
    return [(name, os.getxattr(path, name, follow_symlinks=follow)) for name in names if name.startswith(_KEPT_XATTRS)]
