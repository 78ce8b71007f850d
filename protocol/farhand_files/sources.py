"""The directories in which source files are. They are opened again when a file is read, if they were closed meanwhile.

There may be as many sources as files that have no answer yet, and each of them in a directory of its own: more than a
process may have open.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from .opening import Area, Directory, OpenDirectories, join

MAX_TREES: Final = 4
"""Sources whose directories stay open, up to `opening.MAX_OPEN` below each: the one that is walked, that of the file
which is read, and some between them, in a quarter of the 1,024 descriptors that a process usually has."""


class SourceTree(NamedTuple):
    """A directory that the user has named, or in which a named file is, and those below it. For one thread.

    `path` is for opening it again; what is there has to be the directory of which `status` is."""

    trees: SourceTrees
    number: int
    path: bytes
    status: os.stat_result

    def get(self, components: tuple[bytes, ...]) -> Directory:
        """Return an open directory; do not close it. No symbolic link below the source is followed. Raises OSError."""
        return self.trees.directories_of(self).get(components)


class SourceTrees:
    """Keeps the directories of the last `MAX_TREES` sources open. For one thread."""

    def __init__(self, area: Area) -> None:
        self._area = area
        self._added = 0
        self._last: tuple[bytes, os.stat_result] | None = None
        self._open: OrderedDict[int, OpenDirectories] = OrderedDict()

    def add(self, path: bytes, top: Directory) -> SourceTree:
        """Return the tree of a directory that was opened at a path: the last one again if it is the same."""
        status = os.fstat(top.fd)
        if self._last is None or self._last[0] != path or not os.path.samestat(self._last[1], status):
            self._last = path, status
            self._added += 1
        if self._added not in self._open:
            self._keep(self._added, OpenDirectories(top))
        return SourceTree(self, self._added, path, status)

    def directories_of(self, tree: SourceTree) -> OpenDirectories:
        """Return the directories of a tree, which is opened again if need be. Raises OSError."""
        found = self._open.get(tree.number)
        if found is not None:
            self._open.move_to_end(tree.number)
            return found
        top = self._area.open_directory(tree.path)
        if not os.path.samestat(tree.status, os.fstat(top.fd)):
            raise OSError(errno.ESTALE, "its directory was replaced meanwhile", tree.path)
        made = OpenDirectories(top)
        self._keep(tree.number, made)
        return made

    def close(self) -> None:
        """Close all of them. May be called twice."""
        self._open.clear()

    def _keep(self, number: int, directories: OpenDirectories) -> None:
        self._open[number] = directories
        if len(self._open) > MAX_TREES:
            self._open.popitem(last=False)


class SourceDirectory(NamedTuple):
    """The directory in which files were found. `path` is for people."""

    tree: SourceTree
    components: tuple[bytes, ...]
    path: bytes

    def open_file(self, name: bytes) -> int:
        """Open a file and return the descriptor, which is the caller's. Raises OSError.

        O_NONBLOCK: a FIFO that has replaced the file does not block, nor does a file with a lease (EWOULDBLOCK).
        """
        directory = self.tree.get(self.components)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory.fd)


def source_of(names: Mapping[bytes, bytes], path: bytes) -> bytes:
    """Return where the entry with this path is, as the user would write it. `names` are the sources by the paths of
    their own entries. Empty where more than one source could have it, and for a pipe."""
    if b"" in names:
        source = names[b""] if len(names) == 1 else b""
        return join(source, path) if source else b""
    top, slash, below = path.partition(b"/")
    source = names.get(top, b"")
    return source + slash + below if source else b""
