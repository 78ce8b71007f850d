"""What `delete` removes: what the sources do not have, once all else has worked.

While directories are listed, `Listings` notes which names the sources have in them; once one is listed completely, what
is there beyond these is noted. Only at the end `Deleter` removes it, below open directories and without following any
link. It does not enter other file systems.
"""

from __future__ import annotations

import contextlib
import errno
import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from . import wire
from .names import folded, spellings
from .opening import OpenDirectories
from .planning import surplus
from .selection import Selection
from .spill import Spill

MAX_UNLISTED: Final = 65_536
"""Directories that may have begun without being listed, some 30 MiB. A sender that walks depth first has some thousand
at most for each level."""

MAX_UNLISTED_SIZE: Final = 32 << 20
"""Bytes of memory for the paths of these directories: 500 for each. A path can have two thousand components."""

_COMPONENT: Final = 42
"""Bytes of memory for a component of a path, besides its own."""

FEW_NAMES: Final = 1024
"""Names of a directory that are kept in a set. More are kept as hashes of 8 bytes, in lists that are sorted when the
directory is complete: a million take 8 MiB."""

_BUCKETS: Final = 64


class Names:
    """The names of one directory. That two names have the same hash is as likely as that a disk fails silently; then
    something would remain that could have been deleted."""

    def __init__(self) -> None:
        self._few: set[int] = set()
        self._many: list[array[int]] | None = None
        self._sorted = False
        self._folded: Names | None = None

    def add(self, name: bytes) -> None:
        """Note a name."""
        common = folded(name)
        if common != name:
            if self._folded is None:
                self._folded = Names()
            self._folded.add(common)
        key = hash(name) & 0xFFFFFFFFFFFFFFFF
        if self._many is not None:
            self._many[key % _BUCKETS].append(key)
            self._sorted = False
            return
        self._few.add(key)
        if len(self._few) > FEW_NAMES:
            few, self._few = self._few, set()
            self._many = [array("Q") for _ in range(_BUCKETS)]
            for each in few:
                self._many[each % _BUCKETS].append(each)

    def has_spelling(self, name: bytes) -> bool:
        """Return whether a name was noted that some file systems do not distinguish from this one."""
        common = folded(name)
        return common in self or (self._folded is not None and common in self._folded)

    def __contains__(self, name: object) -> bool:
        key = hash(name) & 0xFFFFFFFFFFFFFFFF
        if self._many is None:
            return key in self._few
        if not self._sorted:
            self._many = [array("Q", sorted(bucket)) for bucket in self._many]
            self._sorted = True
        bucket = self._many[key % _BUCKETS]
        at = bisect_left(bucket, key)
        return at < len(bucket) and bucket[at] == key


class Listings:
    """Notes what the sources have, and so what is to be deleted."""

    def __init__(
        self, selection: Selection, spill: Spill, was_moved: Callable[[bytes], bool] = lambda _: False
    ) -> None:
        """`was_moved` tells the names of directories that were replaced, and are noted by others."""
        self._was_moved = was_moved
        self._selection = selection
        self._spill = spill
        self._begun: dict[int, tuple[bytes, ...]] = {}
        self._size = 0
        self._names: dict[tuple[bytes, ...], Names] = {}

    def begin(self, number: int, components: tuple[bytes, ...]) -> None:
        """A directory is transferred. Raises `wire.WireError`."""
        if len(self._begun) >= MAX_UNLISTED:
            raise wire.WireError(f"more than {MAX_UNLISTED} directories that are not listed")
        if components in self._names:
            raise wire.WireError("a directory that is not listed yet was sent again")
        self._size += _memory(components)
        if self._size > MAX_UNLISTED_SIZE:
            raise wire.WireError("too many directories with long paths that are not listed")
        self._begun[number] = components
        self._names[components] = Names()

    def add(self, components: tuple[bytes, ...]) -> None:
        """The sources have this."""
        if components:
            names = self._names.get(components[:-1])
            if names is not None:
                names.add(components[-1])

    def finish(self, number: int, complete: bool, directories: OpenDirectories) -> None:
        """A directory is listed: note what is there, and not in the sources. Raises OSError."""
        components = self._begun.pop(number, None)
        if components is None:
            return
        self._size -= _memory(components)
        names = self._names.pop(components)
        if not complete:
            return
        path = b"/".join(components)
        fd = directories.get(components).readable()
        try:
            with os.scandir(fd) as entries:
                there = ((os.fsencode(each.name), each.is_dir(follow_symlinks=False)) for each in entries)
                for name, is_directory in surplus(path, there, names, self._selection.excludes):
                    if self._was_moved(name) or (names.has_spelling(name) and _is_folded(fd, name)):
                        continue  # it is what the sources have: its name here is spelled otherwise
                    self._spill.append((b"d" if is_directory else b"f") + b"/".join((*components, name)))
        finally:
            os.close(fd)


def holds_excluded(selection: Selection, directories: OpenDirectories, top: tuple[bytes, ...]) -> bool:
    """Return whether a directory or something below it is excluded, or is a temporary file. Raises OSError."""
    if selection.excludes(b"/".join(top), True):
        return True
    stack = [top]
    while stack:
        components = stack.pop()
        fd = directories.get(components).readable()
        try:
            with os.scandir(fd) as entries:
                there = [(os.fsencode(each.name), each.is_dir(follow_symlinks=False)) for each in entries]
        finally:
            os.close(fd)
        surplus_there = list(surplus(b"/".join(components), there, (), selection.excludes))
        if len(surplus_there) < len(there):
            return True
        stack += [(*components, name) for name, is_directory in surplus_there if is_directory]
    return False


def _memory(components: tuple[bytes, ...]) -> int:
    return sum(map(len, components)) + _COMPONENT * len(components)


def _is_folded(directory: int, name: bytes) -> bool:
    """Return whether a name in an open directory can be spelled otherwise."""
    try:
        status = os.lstat(name, dir_fd=directory)
    except OSError:
        return False
    for other in spellings(name):
        with contextlib.suppress(OSError):
            if os.path.samestat(status, os.lstat(other, dir_fd=directory)):
                return True
    return False


class Deleter:
    """Removes what was noted. `removed` is called with each path, `failed` with what cannot be removed."""

    def __init__(
        self,
        selection: Selection,
        directories: OpenDirectories,
        removed: Callable[[bytes], None],
        failed: Callable[[bytes, OSError], None],
        *,
        dry_run: bool,
    ) -> None:
        self._selection = selection
        self._directories = directories
        self._removed = removed
        self._failed = failed
        self._dry_run = dry_run
        self._now: tuple[bytes, ...] = ()
        self._before: tuple[bytes, ...] = ()

    def run(self, spill: Spill) -> None:
        """Remove everything. Raises OSError if what was noted cannot be read."""
        for record in spill.forwards():
            self._now = self._before = ()
            if record[:1] == b"m":
                now, _, before = record[1:].partition(b"\0")
                self._now, self._before = tuple(now.split(b"/")), tuple(before.split(b"/"))
                self._tree(self._now)
                continue
            components = tuple(record[1:].split(b"/"))
            if record[:1] == b"d":
                self._tree(components)
            else:
                self._remove(components, False)

    def _path(self, components: tuple[bytes, ...]) -> bytes:
        """Return the path of something in the transfer: in a directory that was moved, the one that it had before."""
        return b"/".join((*self._before, *components[len(self._now) :]))

    def _tree(self, top: tuple[bytes, ...]) -> None:
        """Remove a directory, what is in it first. What is excluded stays, and so do the directories above it."""
        stack: list[tuple[tuple[bytes, ...], Iterator[tuple[bytes, bool]], int]] = []
        self._enter(stack, top)
        while stack:
            components, entries, kept = stack[-1]
            entry = next(entries, None)
            if entry is None:
                stack.pop()
                if not kept and self._remove(components, True):
                    continue
                if stack:
                    above = stack[-1]
                    stack[-1] = (above[0], above[1], above[2] + 1)
            elif entry[1]:
                self._enter(stack, (*components, entry[0]))
            elif not self._remove((*components, entry[0]), False):
                stack[-1] = (components, entries, kept + 1)

    def _enter(
        self,
        stack: list[tuple[tuple[bytes, ...], Iterator[tuple[bytes, bool]], int]],
        components: tuple[bytes, ...],
    ) -> None:
        kept = 0
        names: list[tuple[bytes, bool]] = []
        try:
            directory = self._directories.get(components)
            if os.fstat(directory.fd).st_dev != os.fstat(self._directories.get(components[:-1]).fd).st_dev:
                raise OSError(errno.EBUSY, "another file system is mounted here")
            fd = directory.readable()
            try:
                with os.scandir(fd) as entries:
                    there = [(os.fsencode(each.name), each.is_dir(follow_symlinks=False)) for each in entries]
            finally:
                os.close(fd)
            names = list(surplus(self._path(components), there, (), self._selection.excludes))
            kept = len(there) - len(names)
        except OSError as error:
            kept = 1
            self._failed(self._path(components), error)
        stack.append((components, iter(names), kept))

    def _remove(self, components: tuple[bytes, ...], is_directory: bool) -> bool:
        path = self._path(components)
        if not self._dry_run:
            try:
                directory = self._directories.get(components[:-1])
                if is_directory:
                    self._directories.forget(components)
                    os.rmdir(components[-1], dir_fd=directory.fd)
                else:
                    os.unlink(components[-1], dir_fd=directory.fd)
            except FileNotFoundError:
                return True
            except OSError as error:
                self._failed(path, error)
                return False
        self._removed(path)
        return True
