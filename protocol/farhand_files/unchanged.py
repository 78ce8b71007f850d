"""Finds files that plainly are up to date, quickly: most are when a tree is transferred again.

What is not plain is left to `planning.decide`. The two agree: a file that is skipped here would be skipped there, too.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Final

from . import wire
from .destination import Requested
from .names import BadName, check_path
from .opening import Directory, OpenDirectories
from .options import TransferOptions
from .rows import FileRows

_PLAIN_NAME: Final = re.compile(rb"[^./\0][^/\0]{0,254}")
"""A name that needs no further check. Others may be good ones, too."""


class Unchanged:
    """Tells which entries are of files that are up to date below a destination. For one thread."""

    def __init__(
        self,
        options: TransferOptions,
        requested: Requested,
        directories: OpenDirectories,
        note: Callable[[tuple[bytes, ...]], None] | None,
    ) -> None:
        """`note` is called with the place of each file that is up to date."""
        self._mode = options.mode
        self._requested = requested
        self._directories = directories
        self._note = note
        self._above: bytes | None = None
        self._components: tuple[bytes, ...] = ()
        self._directory: Directory | None = None

    @staticmethod
    def applies_to(options: TransferOptions) -> bool:
        """Return whether sizes, times and modes decide what is up to date, and nothing else."""
        plain = options.max_size is None and options.newer_than is None and not options.checksum
        return plain and not options.owner and not options.xattrs

    def includes(self, entry: wire.Entry) -> bool:
        """Return whether a regular file plainly is up to date."""
        path = entry.path
        above, _, name = path.rpartition(b"/")
        self._enter(above)
        if self._directory is None or _PLAIN_NAME.fullmatch(name) is None or len(path) > wire.MAX_PATH:
            return False
        if not above and (path != name or not self._requested.includes((name,))):
            return False
        try:
            status = os.lstat(name, dir_fd=self._directory.fd)
        except OSError:
            self._directory = None  # where one file is missing others will be: do not look twice for each
            return False
        mode = entry.mode & 0o777 if self._mode is None else self._mode
        if (
            status.st_size != entry.size
            or status.st_mtime_ns != entry.mtime
            or not stat.S_ISREG(status.st_mode)
            or (status.st_mode ^ mode) & 0o7777
        ):
            return False
        if self._note is not None:
            self._note((*self._components, name))
        return True

    def end_of(self, rows: FileRows, start: int) -> int:
        """Return the first file from `start` on that is not plainly up to date."""
        self._enter(rows.directory)
        directory = self._directory
        if directory is None or not rows.plain:
            return start
        names, sizes, mtimes, modes = rows.names, rows.sizes, rows.mtimes, rows.modes
        lstat, fd, requested, at_top = os.lstat, directory.fd, self._mode, not rows.directory
        row = start
        try:
            for row in range(start, len(names)):
                name = names[row]
                if at_top and not self._requested.includes((name,)):
                    break
                status = lstat(name, dir_fd=fd)
                if (
                    status.st_mtime_ns != mtimes[row]
                    or status.st_size != sizes[row]
                    or status.st_mode != stat.S_IFREG | (modes[row] & 0o777 if requested is None else requested)
                ):
                    break
            else:
                row = len(names)
        except OSError:
            self._directory = None  # see `includes`
        if self._note is not None:
            for name in names[start:row]:
                self._note((*self._components, name))
        return row

    def _enter(self, above: bytes) -> None:
        if above != self._above:
            self._above = above
            self._directory = self._open(above)

    def _open(self, above: bytes) -> Directory | None:
        """Open a directory; None if that is not plain."""
        try:
            self._components = check_path(above)
            if above and not self._requested.includes(self._components):
                return None
            return self._directories.get(self._components)
        except (BadName, OSError):
            return None
