"""The directory of the spools' files, and how much space they may take there: a part of the file system stays free for
the records of runs and for their starts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from farhand_protocol.limits import MiB
from farhand_server.sharing import AccountBounds, Tally, bound_by_shares, part_of_room

KEPT_PART: Final = 8
"""At most one part in so many of a file system stays free, so that a small one can be used, too."""

SMALL_RING: Final = 256 << 10
"""Bytes of output of each stream for which half of the free part may be used: the last screens of any run, even if
others have taken everything else. 256 runs can use 64 MiB in this way."""

GRANT: Final = 16 * MiB
"""Maximum bytes that may be written between two looks at the file system. A look costs 2 µs, and other programs write
there, too."""

FULL_PAUSE: Final = 60.0
"""Seconds for which files may not grow after the file system or a quota has refused space. A quota shows only in this
way."""


class SpoolDirectory:
    """Grants spools the space for their files in `path`, while more than `keep_free` bytes of its file system are free.

    `keep_free` may change at any time. `on_change` is called whenever `low` changes.
    """

    def __init__(self, path: Path, keep_free: int = 0) -> None:
        self.path = path
        self.keep_free = keep_free
        self.low = False
        """Whether a spool was refused space, and there was little when `check` was last called."""
        self.on_change: Callable[[], None] = lambda: None
        self.by_user: Final[Tally[int]] = Tally()
        """Bytes of the files of each account's runs."""
        self.bounds = AccountBounds()
        self._granted = 0
        """Bytes that may still be written before the next look."""
        self._full_until = 0.0

    def of(self, uid: int) -> SpoolDirectory:
        """Return this directory for the files of one account's runs."""
        return _UserDirectory(self, uid)

    def grant(self, count: int, *, urgent: bool = False, small: bool = False) -> int:
        """Return by how many of `count` bytes a file may grow. With `urgent`, half of the free part may be used. A file
        that is `small` may grow whatever its user has.

        If the file system does not tell, the space is granted: writing will show.
        """
        if time.monotonic() < self._full_until and not urgent:
            return 0
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

    def adopt(self, count: int) -> None:
        """Count a file of `count` bytes that the previous program has left."""

    def give_back(self, count: int) -> None:
        """Count `count` bytes less: a file is smaller, or was deleted."""

    def space_left(self, *, urgent: bool = False) -> int:
        """Return how many bytes spools may still take."""
        free, keep = self._look()
        return max(0, free - (keep // 2 if urgent else keep))

    def part(self, uid: int) -> int:
        """Return how many bytes the files of an account may have now."""
        has = self.by_user.of(uid)
        return has + (self.room_of(uid, self.space_left()) if bound_by_shares(uid) else self.space_left())

    def room_of(self, uid: int, room: int) -> int:
        """Return how many more bytes the files of an account may have, while there is `room` for all."""
        has, bound = self.by_user.of(uid), self.bounds.of(uid).disk
        part = part_of_room(room, has)
        return part if bound is None else max(0, min(part, bound - has))

    def check(self) -> bool:
        """Look whether spools would be refused space now, and return that."""
        if self.low and time.monotonic() >= self._full_until:
            free, keep = self._look()
            self._note(low=free <= keep + keep // KEPT_PART)  # lest it changes with each byte
        return self.low

    def refused(self) -> None:
        """Note that the file system itself, or a quota, has refused space: what spools give back is for records."""
        self._granted = 0
        self._full_until = time.monotonic() + FULL_PAUSE
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


class _UserDirectory(SpoolDirectory):
    """The directory for the files of one account, which must leave others their part of the space."""

    def __init__(self, whole: SpoolDirectory, uid: int) -> None:
        super().__init__(whole.path)
        self._whole = whole
        self._uid = uid
        self._bound = bound_by_shares(uid)
        self._left = 0
        """Bytes of the account's part before the next look."""

    def grant(self, count: int, *, urgent: bool = False, small: bool = False) -> int:
        if self._bound and not small:
            if count > self._left:
                room = self._whole.space_left(urgent=urgent)
                self._left = min(self._whole.room_of(self._uid, room), max(count, GRANT))
            count = min(count, self._left)
        granted = self._whole.grant(count, urgent=urgent)
        self._left = max(0, self._left - granted)
        self.adopt(granted)
        return granted

    def adopt(self, count: int) -> None:
        self._whole.by_user.add(self._uid, count)

    def give_back(self, count: int) -> None:
        self._whole.by_user.remove(self._uid, count)

    def refused(self) -> None:
        self._whole.refused()
