"""Temporary files beside their targets, and those left by transfers that were cut off.

A temporary file is called `.farhand-<hash of the target's name>-<random>.part`, so that the next attempt finds what an
earlier one has left for the same target. It is locked (flock(2)) by the receiver that writes it: the lock ends with the
process, so that what is unlocked was left. Of one that is locked a copy is used: its receiver may wait for a client
that was killed, and that may be the one that has just called again. Small ones are closed before they are renamed, so
that many of them need no descriptors meanwhile, and therefore are not used again. Nor is any file that is not certainly
the user's own: in a directory like /tmp anybody can put a file, or another name of one of the user's files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import Final

from blake3 import blake3

from .names import is_temporary
from .opening import Directory, join
from .replacing import MovedDirectories
from .wire import CHUNK

MAX_AGE: Final = 24 * 3600
"""Seconds after which a temporary file that nobody holds is removed: a day, so that a transfer that was cut off in the
evening goes on in the morning. It is counted from the last change of the inode: the time of modification is already
that of the source."""

_ATTEMPTS: Final = 8
"""How often another random name is tried. Even a second time is unlikely among 4 billion names."""

_PREFIX: Final = len(b".farhand-") + 16

_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_COPIED_AT_ONCE: Final = 64 << 20
"""Bytes copied by one system call, so that a cancelled transfer ends soon."""


class Temporary:
    """A temporary file. Its descriptor is open for reading and writing until it is closed."""

    __slots__ = ("directory", "fd", "moved", "name", "place", "target")

    def __init__(self, directory: Directory, name: bytes, target: bytes, fd: int) -> None:
        self.directory = directory
        self.name = name
        self.target = target
        self.fd = fd
        self.moved: MovedDirectories | None = None
        self.place: tuple[bytes, ...] = ()

    def let_replace(self, moved: MovedDirectories, place: tuple[bytes, ...]) -> None:
        """A directory may be replaced, which is noted in `moved`."""
        self.moved, self.place = moved, place

    def close(self) -> None:
        """Close the descriptor, and so give up the lock. May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def remove(self) -> None:
        """Close and delete it. That it is gone is no error."""
        with contextlib.suppress(OSError):
            os.unlink(self.name, dir_fd=self.directory.fd)
        self.close()

    def is_superseded(self, size: int, mtime: int) -> bool:
        """Return whether the target is by now what was to be received: another attempt has been quicker."""
        try:
            status = os.lstat(self.target, dir_fd=self.directory.fd)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (size, mtime)

    def replace_target(self) -> None:
        """Rename it to its target. Raises OSError."""
        if self.moved is not None:
            self.moved.replace(self.directory, self.name, self.place)
            return
        os.rename(self.name, self.target, src_dir_fd=self.directory.fd, dst_dir_fd=self.directory.fd)


def create(directory: Directory, target: bytes) -> Temporary:
    """Make an empty temporary file for a target, and lock it. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(_ATTEMPTS):
        name = temporary_name(target)
        try:
            fd = os.open(name, flags, 0o600, dir_fd=directory.fd)
        except FileExistsError:
            continue
        with contextlib.suppress(OSError):  # a file system without locks: others leave it alone for a day
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Temporary(directory, name, target, fd)
    raise OSError(errno.EEXIST, "there is no free name for a temporary file", join(directory.path, target))


def temporary_name(target: bytes) -> bytes:
    """Return a new name for a temporary file of a target."""
    return b"%s-%s.part" % (_prefix(target), os.urandom(4).hex().encode())


def _prefix(target: bytes) -> bytes:
    return b".farhand-" + blake3(target).hexdigest(8).encode()


class Leftovers:
    """The temporary files in a directory that earlier transfers have left. The directory is read once."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._names: dict[bytes, list[bytes]] = {}
        with contextlib.suppress(OSError):  # a directory that can be written, but not read
            fd = directory.readable()
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        if entry.name.startswith(".farhand-") and is_temporary(name := os.fsencode(entry.name)):
                            self._names.setdefault(name[:_PREFIX], []).append(name)
            finally:
                os.close(fd)

    def has(self, target: bytes) -> bool:
        """Return whether anything was left for a target, which `take` may nevertheless not accept."""
        return bool(self._names) and _prefix(target) in self._names

    def take(self, target: bytes) -> Temporary | None:
        """Return the largest of those that were left for a target and have at least `wire.CHUNK` bytes, locked, and
        remove the others; or else a copy of the largest that another receiver holds. None if there is none. What is in
        it has to be compared by digests in any case."""
        best: Temporary | None = None
        if not self._names:
            return None
        held: list[bytes] = []
        for name in self._names.pop(_prefix(target), ()):
            found = self._claim(name, target, held)
            if found is None:
                continue
            if os.fstat(found.fd).st_size < CHUNK:
                found.close()  # another receiver may be about to rename it
            elif best is None:
                best = found
            elif os.fstat(found.fd).st_size > os.fstat(best.fd).st_size:
                best.remove()
                best = found
            else:
                found.remove()
        return self._copy_of(held, target) if best is None and held else best

    def _copy_of(self, held: list[bytes], target: bytes) -> Temporary | None:
        """Return a copy of the largest of these files, as far as it is written now. None if it cannot be copied."""
        with contextlib.ExitStack() as stack:
            largest, size = -1, 0
            for name in held:
                with contextlib.suppress(OSError):
                    fd = os.open(name, _READING, dir_fd=self._directory.fd)
                    stack.callback(os.close, fd)
                    status = os.fstat(fd)
                    if _is_own(status) and status.st_size > size:
                        largest, size = fd, status.st_size
            if largest < 0 or not hasattr(os, "copy_file_range"):  # macOS has no such call
                return None
            copy: Temporary | None = None
            try:
                copy = create(self._directory, target)
                while size and (copied := os.copy_file_range(largest, copy.fd, min(size, _COPIED_AT_ONCE))):
                    size -= copied
            except OSError:  # a full disk, or a file system that does not copy
                if copy is not None:
                    copy.remove()
                return None
            return copy

    def sweep(self, before: float | None = None) -> int:
        """Remove those that nobody holds and that were changed last before this time (by default, that are older than
        `MAX_AGE`), of targets that were not asked about. Also links that were not renamed, and what cannot be locked:
        nobody needs a day for either. Return how many there were."""
        names, self._names = self._names, {}
        oldest = time.time() - MAX_AGE if before is None else before
        removed = 0
        for several in names.values():
            for name in several:
                with contextlib.suppress(OSError):
                    status = os.lstat(name, dir_fd=self._directory.fd)
                    if status.st_ctime >= oldest or status.st_uid != os.geteuid():
                        continue
                    held: list[bytes] = []
                    found = self._claim(name, b"", held)
                    if found is not None:
                        found.remove()
                        removed += 1
                    elif not held and (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                        os.unlink(name, dir_fd=self._directory.fd)
                        removed += 1
        return removed

    def _claim(self, name: bytes, target: bytes, held: list[bytes]) -> Temporary | None:
        """Return a file that nobody holds, locked. The name of one that another receiver holds, or may hold, is
        added to `held`."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=self._directory.fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EACCES):  # a link, or a file that was complete; else who knows
                held.append(name)
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status, now = os.fstat(fd), os.lstat(name, dir_fd=self._directory.fd)
            if _is_own(status) and os.path.samestat(status, now):
                return Temporary(self._directory, name, target, fd)
        except BlockingIOError:
            held.append(name)
        except OSError:
            pass  # its receiver has just renamed it
        os.close(fd)
        return None


def _is_own(status: os.stat_result) -> bool:
    """Return whether a file is a regular one of the user's, and has no other name."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
