"""Which paths the core may look at itself: those that nobody but root and the service's own account can change, on file
systems that do not hang.

For a program of the service's own account this saves the question to a worker and a shell in front of the program,
which would cost a short run a tenth of its time. Remembered are the table of mounts, which the kernel reports when it
changes (poll(2) on /proc/self/mountinfo, proc_pid_mountinfo(5)), and for a second what can be started at once.
"""

from __future__ import annotations

import os
import re
import select
import stat
import time
import weakref
from collections.abc import Callable
from typing import Final

from .looking import MAX_INTERPRETERS, interpreter_of, starting_directory

LOCAL: Final = frozenset(
    f"{name}".encode()
    for name in (
        *("bcachefs", "btrfs", "devtmpfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "iso9660", "jfs", "overlay"),
        *("ramfs", "reiserfs", "rootfs", "squashfs", "tmpfs", "ubifs", "vfat", "xfs", "zfs"),
    )
)
"""File systems that wait for nothing but their disk. Others wait for a server (NFS), for a program (FUSE, autofs), or
are not known to wait for nothing."""

MAX_SYMLINKS: Final = 40
"""Symbolic links in one path, after which the kernel gives up with ELOOP (path_resolution(7))."""

MAX_PATH_ENTRIES: Final = 16
"""Directories of a PATH in which the core itself searches for a program. Each takes some ten microseconds."""

REMEMBER_TIME: Final = 1.0
"""Seconds for which a program that can be started at once is not looked at again. Only root or the service's account
can change that meanwhile, and a new mount ends it at once. A script that starts the same program again and again saves
a dozen system calls each time."""

MAX_QUICK_STARTS: Final = 256
"""Programs that are remembered: more than anybody starts in a second."""

MAX_QUESTION: Final = 4096
"""Bytes of paths that are remembered for a program; longer ones are rare, and could fill the memory."""

_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_MOUNT_ID: Final = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


class _UnsteadyPath(Exception):
    """Somebody else can change what a path leads to, or something on it may hang."""


class SteadyPaths:
    """Answers from the current table of mounts. Its methods raise nothing: what cannot be known is not steady."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uid = os.geteuid()
        self._table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._table)
        self._changes = select.poll()
        self._changes.register(self._table, select.POLLPRI)
        self._local: frozenset[int] = frozenset()
        self._others: frozenset[bytes] = frozenset()
        self._quick: dict[tuple[bytes, bytes, bytes, bytes], float] = {}
        """Questions that `can_start` has answered with yes, and until when that counts."""
        self._read()

    def is_local(self, fd: int) -> bool:
        """Return whether an open file is on a file system that does not hang. This does not touch the file system."""
        self._follow()
        try:
            with open(f"/proc/self/fdinfo/{fd}", "rb") as file:  # noqa: PTH123  # quicker than Path
                found = _MOUNT_ID.search(file.read())
        except OSError:
            return False
        return found is not None and int(found[1]) in self._local

    def is_steady(self, path: bytes) -> bool:
        """Return whether nobody but root and the service's account can change what `path` leads to, and nothing on it
        can hang."""
        self._follow()
        if not path.startswith(b"/") or b"\0" in path:
            return False
        try:
            self._status(path, {})
        except _UnsteadyPath:
            return False
        return True

    def can_start(self, program: bytes, search: bytes, cwd: bytes, home: bytes) -> bool:
        """Return whether execve(2) can be called at once for `program` in `cwd`, because it cannot hang.

        It may fail. For the parameters see `messages.OpenStart`. The answer may be from the last `REMEMBER_TIME`.
        """
        self._follow()
        question, now = (program, search, cwd, home), self._clock()
        if self._quick.get(question, 0.0) > now:
            return True
        quick = self._can_start(program, search, cwd, home)
        if quick and sum(map(len, question)) <= MAX_QUESTION:
            if len(self._quick) >= MAX_QUICK_STARTS:
                self._quick.clear()
            self._quick[question] = now + REMEMBER_TIME
        return quick

    def _can_start(self, program: bytes, search: bytes, cwd: bytes, home: bytes) -> bool:
        seen: dict[bytes, os.stat_result] = {}
        places = [b""] if b"/" in program else search.split(b":")
        if not cwd.startswith(b"/") or b"\0" in cwd + program + search or len(places) > MAX_PATH_ENTRIES:
            return False
        try:
            self._status(home, seen)
            cwd = starting_directory(cwd, home)
            self._status(cwd, seen)
            for place in places:
                path = os.path.join(cwd, place, program)  # noqa: PTH118  # bytes
                status = self._status(path, seen)
                if status is not None:
                    return self._is_quick(path, status, cwd, seen)
        except _UnsteadyPath:
            return False
        return True  # it does not exist

    def _is_quick(self, path: bytes, found: os.stat_result, cwd: bytes, seen: dict[bytes, os.stat_result]) -> bool:
        """Return whether the kernel can open a program, and the interpreters that it names, without waiting."""
        status: os.stat_result | None = found
        for _ in range(MAX_INTERPRETERS + 1):
            if status is None or not stat.S_ISREG(status.st_mode):
                return True  # it cannot be executed
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:  # not readable, or somebody has a lease on it
                return False
            try:
                header = os.read(fd, 256)
            except OSError:
                return False
            finally:
                os.close(fd)
            interpreter = interpreter_of(header) if header.startswith(b"#!") else None
            if interpreter is None:
                return True
            path = os.path.join(cwd, interpreter)  # noqa: PTH118  # bytes
            status = self._status(path, seen)
        return True

    def _status(self, path: bytes, seen: dict[bytes, os.stat_result]) -> os.stat_result | None:
        """Return what `path` leads to; None if it does not exist. `seen` has what this call of the object has met.

        Raises `_UnsteadyPath` if anybody else can change what it leads to, or something on it can hang. Looks only into
        directories of which it is known that neither is so.
        """
        left = path.split(b"/")[::-1]
        at, followed = b"", 0
        while left:
            name = left.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                at = at.rpartition(b"/")[0]
                continue
            here = at + b"/" + name
            if here in seen:
                at = here
                continue
            if here in self._others:
                raise _UnsteadyPath
            try:
                status = os.lstat(here)
                if status.st_uid not in (0, self._uid):
                    raise _UnsteadyPath
                if stat.S_ISLNK(status.st_mode):
                    followed += 1
                    target = os.readlink(here)  # noqa: PTH115  # bytes
                    if followed > MAX_SYMLINKS:
                        return None  # ELOOP
                    left += target.split(b"/")[::-1]
                    at = b"" if target.startswith(b"/") else at
                    continue
            except OSError:
                return None  # it does not exist, and nobody else can create it
            if status.st_mode & _WRITABLE_BY_OTHERS and not (
                stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
            ):
                raise _UnsteadyPath
            at = here
            seen[here] = status
        return seen.get(at)

    def _follow(self) -> None:
        if self._changes.poll(0):
            self._read()

    def _read(self) -> None:
        self._quick.clear()
        chunks, at = [], 0
        while chunk := os.pread(self._table, 64 << 10, at):
            chunks.append(chunk)
            at += len(chunk)
        local, others = set(), set()
        for line in b"".join(chunks).splitlines():
            before, _, after = line.partition(b" - ")
            number, _, _, _, point = before.split(b" ")[:5]
            if after.split(b" ", 1)[0] in LOCAL:
                local.add(int(number))
            else:
                others.add(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), point))
        self._local, self._others = frozenset(local), frozenset(others)


_current: SteadyPaths | None = None


def steady_paths() -> SteadyPaths:
    """Return this process's table of mounts."""
    global _current
    if _current is None:
        _current = SteadyPaths()
    return _current
