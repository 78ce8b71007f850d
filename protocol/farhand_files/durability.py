"""Makes files and directories durable.

One fsync(2) for each file makes a file system write its journal each time: 2,000 files take seconds. syncfs(2) does it
once for all of them, and is used where it is known to wait for the disk and to report errors: on local file systems
since Linux 5.8. It reports only errors that have happened since its descriptor was opened, so that is done before
anything is written; and it does not say which file has failed, so then each is synced on its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from .opening import Directory
from .temporary import Temporary

MAX_FILE_SYSTEMS: Final = 16
"""File systems below a destination that have a descriptor for syncfs: more are unheard of."""

FEW: Final = 4
"""Files or directories up to which each is synced on its own: syncfs also writes what other programs have changed."""

_LOCAL: Final = frozenset((0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994))  # ext4, XFS, Btrfs, F2FS, tmpfs
_SINCE: Final = (5, 8)
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Durability:
    """Syncs files and directories of a transfer. `register` is for one thread, the other methods for another one."""

    def __init__(self) -> None:
        self._anchors: dict[int, int] = {}
        self._able = sys.platform == "linux" and _kernel() >= _SINCE

    def register(self, directory: Directory) -> None:
        """Something will be written to this directory."""
        if not self._able:
            return
        device = os.fstat(directory.fd).st_dev
        if device in self._anchors or len(self._anchors) >= MAX_FILE_SYSTEMS:
            return
        self._anchors[device] = -1
        with contextlib.suppress(OSError):  # it may not be readable
            fd = directory.readable()
            if _type(fd) in _LOCAL:
                self._anchors[device] = fd
            else:
                os.close(fd)

    def sync_files(self, files: Sequence[Temporary], failed: Callable[[Temporary, OSError], None]) -> None:
        """Make the content of files durable. Those that are closed are opened again. Calls `failed` for those that
        are not."""
        closed: dict[int, list[Temporary]] = {}
        devices: dict[int, int] = {}
        for file in files:
            if file.fd >= 0:
                _attempt(partial(os.fsync, file.fd), file, failed)
                continue
            held = file.directory.fd
            device = devices.get(held)
            if device is None:
                device = devices[held] = os.fstat(held).st_dev
            closed.setdefault(device, []).append(file)
        for device, several in closed.items():
            if len(several) > FEW and self._sync_all(device):
                continue
            for file in several:
                _attempt(partial(_sync_file, file), file, failed)

    def sync_directories(self, directories: Iterable[Directory], failed: Callable[[Directory, OSError], None]) -> None:
        """Make the names in directories durable. Calls `failed` for those that are not."""
        found: dict[int, list[Directory]] = {}
        for directory in directories:
            found.setdefault(os.fstat(directory.fd).st_dev, []).append(directory)
        for device, several in found.items():
            if len(several) > FEW and self._sync_all(device):
                continue
            for directory in several:
                try:
                    directory.sync()
                except PermissionError:  # it can be written, but not read
                    self._sync_all(device)
                except OSError as error:
                    if error.errno != errno.EINVAL:  # this file system syncs no directories
                        failed(directory, error)

    def covers(self, directory: Directory) -> bool:
        """Return whether `sync_everything` makes a directory durable."""
        return self._anchors.get(os.fstat(directory.fd).st_dev, -1) >= 0

    def sync_everything(self) -> None:
        """Make everything durable on all file systems where that is possible at once. Raises OSError."""
        for anchor in self._anchors.values():
            if anchor >= 0 and _libc.syncfs(anchor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """Close what is open. May be called twice."""
        anchors, self._anchors = self._anchors, {}
        for fd in anchors.values():
            if fd >= 0:
                os.close(fd)

    def _sync_all(self, device: int) -> bool:
        """Return whether everything on a file system is durable now."""
        anchor = self._anchors.get(device, -1)
        return anchor >= 0 and _libc.syncfs(anchor) == 0


def _attempt(sync: Callable[[], None], file: Temporary, failed: Callable[[Temporary, OSError], None]) -> None:
    try:
        sync()
    except OSError as error:
        if error.errno != errno.EINVAL:  # a device that holds nothing back, such as a terminal
            failed(file, error)


def _sync_file(file: Temporary) -> None:
    fd = os.open(file.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=file.directory.fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _type(fd: int) -> int:
    """Return the magic number of a file system: the first field of `struct statfs`, whose size depends on the
    machine."""
    buffer = (ctypes.c_long * 64)()
    return int(buffer[0]) & 0xFFFFFFFF if _libc.fstatfs(fd, buffer) == 0 else 0
