"""Notices that files which the service depends on were removed or replaced, without looking at them again and again.

inotify(7) reports what happens to a name in a directory, and to the directories above it. It does not report that
another file system was mounted over one of them or unmounted; poll(2) on /proc/self/mountinfo does. Python has no
binding for inotify. Its functions are called through ctypes: a package would be one more dependency for thirty lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import Final

from .logs import Logger

MAX_EVENTS: Final = 64 << 10
"""Bytes of events read at once, some 2,000. The kernel queues at most 16,384 events and then reports only that some
are missing."""

_EVENT: Final = Struct("iIII")  # struct inotify_event (inotify(7)): wd, mask, cookie, len

_IN_ATTRIB: Final = 0x004
_IN_MOVED_FROM: Final = 0x040
_IN_MOVED_TO: Final = 0x080
_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_DELETE_SELF: Final = 0x400
_IN_MOVE_SELF: Final = 0x800
_IN_Q_OVERFLOW: Final = 0x4000
_IN_IGNORED: Final = 0x8000
_IN_ONLYDIR: Final = 0x0100_0000
_IN_MASK_ADD: Final = 0x2000_0000

_ITSELF: Final = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ONLYDIR | _IN_MASK_ADD
"""For a directory above a watched one: what happens to it, but not what happens in it. In /tmp that may be much."""

_ENTRIES: Final = _ITSELF | _IN_CREATE | _IN_DELETE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_ATTRIB
"""For the directory in which a watched name is, or would be."""

_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""The directory does not exist. With any other error but a lack of watches, it exists and may not be read."""


FileId = tuple[int, int]
"""Device and inode number. While a file or socket is open, no other one gets its number."""


class FileWatch:
    """Calls `changed` soon after one of `paths` may have appeared, disappeared or been replaced; call `close` at last.

    It may be called when nothing has changed, and once for many changes, so the caller checks the paths itself. If the
    kernel grants no watch, that is logged as a warning, and `changed` is never called.
    """

    def __init__(self, paths: Iterable[Path], changed: Callable[[], None], log: Logger) -> None:
        self._paths = tuple(paths)
        self._changed = changed
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._inotify = -1
        self._fault = ""
        self._names: dict[int, set[bytes]] = {}
        self._mounts = -1
        with contextlib.suppress(OSError):  # there may be no /proc
            self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            # The file is always readable, never writable, and in an error state once for each change.
            self._loop.add_writer(self._mounts, self._mounts_changed)
        self._watch_again()

    def close(self) -> None:
        """Stop watching. Repeated calls do nothing."""
        if self._mounts >= 0:
            self._loop.remove_writer(self._mounts)
            os.close(self._mounts)
            self._mounts = -1
        self._stop_inotify()

    def _mounts_changed(self) -> None:
        self._watch_again()
        self._changed()

    def _readable(self) -> None:
        try:
            data = os.read(self._inotify, MAX_EVENTS)
        except BlockingIOError:
            return
        if any(self._concerns_us(*event) for event in parse_events(data)):
            self._watch_again()
            self._changed()

    def _concerns_us(self, watch: int, mask: int, name: bytes) -> bool:
        if mask & _IN_Q_OVERFLOW:
            return True
        return name in self._names.get(watch, ()) if name else not mask & _IN_IGNORED

    def _watch_again(self) -> None:
        """Watch the directories that are there now. What happens after this call is reported."""
        self._stop_inotify()
        try:
            self._inotify = _inotify_init()
            self._loop.add_reader(self._inotify, self._readable)
            for path in self._paths:
                self._watch(Path(os.path.realpath(path.parent)) / path.name)
        except OSError as error:
            self._stop_inotify()
            reason = error.strerror or str(error)
            if reason != self._fault:  # changes of mounts may try this again and again
                self._log.warning("the removal of files will not be noticed; a reload checks them", reason=reason)
            self._fault = reason
        else:
            self._fault = ""

    def _watch(self, path: Path) -> None:
        above: Sequence[Path] = path.parents[::-1]
        for directory, below in zip(above, (*above[1:], path), strict=True):
            wanted = (_ENTRIES, path.name) if below == path else (_ITSELF, None)
            if self._add(directory, *wanted):
                continue
            self._add(directory.parent, _ENTRIES, directory.name)
            if not self._add(directory, *wanted):
                return  # its creation will be reported

    def _add(self, directory: Path, mask: int, name: str | None) -> bool:
        """Watch a directory, and return whether it exists."""
        watch = _libc.inotify_add_watch(self._inotify, os.fsencode(directory), mask)
        if watch < 0:
            number = ctypes.get_errno()
            if number in (errno.ENOSPC, errno.ENOMEM):
                raise OSError(number, os.strerror(number))
            return number not in _MISSING
        if name is not None:
            self._names.setdefault(watch, set()).add(os.fsencode(name))
        return True

    def _stop_inotify(self) -> None:
        self._names.clear()
        if self._inotify >= 0:
            self._loop.remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = -1


def described_change(file: Path, was: FileId) -> str | None:
    """Return what has happened to a file that is no longer the one that was opened."""
    try:
        found = file.lstat()
    except FileNotFoundError:
        return f"{file if file.parent.exists() else file.parent} was removed"
    except OSError as error:
        return f"{file} cannot be reached: {error.strerror}"
    return None if (found.st_dev, found.st_ino) == was else f"{file} was replaced"


def file_id(path: Path) -> FileId | None:
    """Return what is at the path now, without following a symbolic link; None if nothing can be found there."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def parse_events(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return watch, mask and name of each event in what inotify(7) lets one read. Without a name, it is empty."""
    events = []
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        events.append((watch, mask, data[offset : offset + length].rstrip(b"\0")))
        offset += length
    return events


_libc: Final = ctypes.CDLL(None, use_errno=True)


def _inotify_init() -> int:
    descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor
