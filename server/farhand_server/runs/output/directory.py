"""The directory of the spools' files, and how much space they may take there: a part of the file system stays free for
the records of runs and for their starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from farhand_protocol.limits import MiB

KEPT_PART: Final = 8
"""At most one part in so many of a file system stays free, so that a small one can be used, too."""

SMALL_RING: Final = 256 << 10
"""Bytes of output of each stream for which half of the free part may be used: the last screens of any run, even if
others have taken everything else. 256 runs can use 64 MiB in this way."""

GRANT: Final = 16 * MiB
"""Maximum bytes that may be written between two looks at the file system. A look costs 2 µs, and other programs write
there, too."""


class SpoolDirectory:
    """Grants spools the space for their files in `path`, while more than `keep_free` bytes of its file system are free.

    `keep_free` may change at any time. `on_change` is called whenever `low` changes.
    """

    def __init__(self, path: Path, keep_free: int = 0) -> None:
        self.path: Final = path
        self.keep_free = keep_free
        self.low = False
        """Whether a spool was refused space, and there was little when `check` was last called."""
        self.on_change: Callable[[], None] = lambda: None
        self._granted = 0
        """Bytes that may still be written before the next look."""

    def grant(self, count: int, *, urgent: bool = False) -> int:
        """Return by how many of `count` bytes a file may grow. With `urgent`, half of the free part may be used.

        If the file system does not tell, the space is granted: writing will show.
        """
        if count <= self._granted:
            self._granted -= count
            return count
        free, keep = self._look()
        room = free - (keep // 2 if urgent else keep)
        granted = max(0, min(count, room))
        self._granted = 0 if urgent else max(0, min((room - granted) // 4, GRANT))
        if granted < count:
            self._note(low=True)
        return granted

    def check(self) -> bool:
        """Look whether spools would be refused space now, and return that."""
        if self.low:
            free, keep = self._look()
            self._note(low=free <= keep + keep // KEPT_PART)  # lest it changes with each byte
        return self.low

    def refused(self) -> None:
        """Note that the file system itself, or a quota, has refused space."""
        self._granted = 0
        self._note(low=True)

    def clear(self) -> tuple[int, int]:
        """Delete the files that a dead service has left behind; return their number and bytes.

        Only that service knew where the content of its ring files began and ended.
        """
        number = size = 0
        try:
            entries = list(os.scandir(self.path))
        except OSError:
            return 0, 0  # there is none yet
        for entry in entries:
            try:
                used = entry.stat(follow_symlinks=False).st_blocks * 512
                os.unlink(entry.path)  # noqa: PTH108  # what scandir returns is no Path
            except OSError:
                continue
            number, size = number + 1, size + used
        return number, size

    def _look(self) -> tuple[int, int]:
        """Return how many bytes of the file system are free, and how many should stay free."""
        try:
            found = os.statvfs(self.path)
        except OSError:
            return GRANT, 0
        total = found.f_blocks * found.f_frsize
        if not total:
            return GRANT, 0  # such as a file system that does not count
        return found.f_bavail * found.f_frsize, min(self.keep_free, total // KEPT_PART)

    def _note(self, *, low: bool) -> None:
        if low != self.low:
            self.low = low
            self.on_change()
