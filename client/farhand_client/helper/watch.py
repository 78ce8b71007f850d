"""Notices changes in a directory: inotify(7), which asyncio does not know."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Final

_CHANGES: Final = 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF and IN_MOVE_SELF."""

_READ_SIZE: Final = 64 * 1024


class DirectoryWatch:
    """Calls `changed` after files in a directory were created, removed or renamed, or the directory itself was. Without
    inotify it never does."""

    def __init__(self, directory: bytes, changed: Callable[[], None]) -> None:
        self._changed = changed
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            libc.inotify_add_watch(self._descriptor, directory, _CHANGES)
            asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def close(self) -> None:
        """Watch nothing any more, and close the inotify descriptor."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _readable(self) -> None:
        try:
            os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return
        self._changed()
