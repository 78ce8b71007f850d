"""What a receiver does in the directories below its destination: looks up, makes, and replaces.

Everything is done by name in a held directory, and no symbolic link is followed. Links are made beside their place and
renamed, as files are. A directory is usable by its owner while it is being filled, and gets its own mode and time at
the end; so what was made last is finished first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from . import wire
from .arriving import IN_PLACE_FLAGS
from .attributes import Attributes, make_usable
from .durability import Durability
from .names import folded
from .opening import MAX_OPEN, Directory, OpenDirectories, join
from .options import TransferOptions
from .planning import DEVICE, SPECIAL, Existing, mode_of
from .replacing import MovedDirectories
from .spill import Spill
from .temporary import Leftovers, Temporary, create, temporary_name
from .writing import MAX_OFFSET_IN_FILE

FEW_DIRECTORIES: Final = 16
"""Directories up to which each is synced on its own at the end."""

_FINAL: Final = struct.Struct(">IqB")
_KINDS: Final = {stat.S_IFREG: wire.REGULAR, stat.S_IFDIR: wire.DIRECTORY, stat.S_IFLNK: wire.SYMLINK}


class _Known:
    """What is known of a directory. `written` holds the names that were written there, if the file system folds them:
    by case, or by Unicode form."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.leftovers: Leftovers | None = None
        self.folds: bool | None = None
        self.written: dict[bytes, bytes] = {}


class Placing:
    """The directories below a destination. For one thread."""

    def __init__(self, options: TransferOptions, durability: Durability) -> None:
        """Raises OSError: there is no such owner."""
        self._options = options
        self._durability = durability
        self._attributes = Attributes(options)
        self._directories: OpenDirectories | None = None
        self._finals: Spill | None = None
        self._known: OrderedDict[tuple[bytes, ...], _Known] = OrderedDict()
        self._made = 0
        self.moved: Final = MovedDirectories()

    def begin(self, directories: OpenDirectories, finals: Spill) -> None:
        """The destination is known. `finals` is for what is done at the end."""
        self._directories = directories
        self._finals = finals

    def existing(self, place: tuple[bytes, ...], entry: wire.Entry) -> Existing | None:
        """Return what is in a place for an entry; None for nothing. Raises OSError, `wire.WireError`."""
        if self._directories is None:
            return None
        target = b""
        try:
            directory = self._directories.get(place[:-1] if place else ())
            if place:
                status = os.lstat(place[-1], dir_fd=directory.fd)
                if entry.kind == wire.SYMLINK and stat.S_ISLNK(status.st_mode):
                    target = os.readlink(place[-1], dir_fd=directory.fd)
            else:
                status = os.fstat(directory.fd)
        except FileNotFoundError:
            if place[:-1] and not self._options.dry_run:
                self._get_parent(place)
            return None
        except OSError as error:
            # A file or link that a directory would have replaced.
            if self._options.dry_run and self._options.delete and error.errno in (errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        mode = status.st_mode
        there = _KINDS.get(stat.S_IFMT(mode))
        if there is None:
            there = DEVICE if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else SPECIAL
        foreign = False
        if place and there == entry.kind and (self._options.owner or self._options.xattrs):
            foreign = self._attributes.differ(status, b"/proc/self/fd/%d/%s" % (directory.fd, place[-1]), entry.xattrs)
        return Existing(there, status.st_size, status.st_mtime_ns, mode & 0o7777, target, foreign)

    def _get_parent(self, place: tuple[bytes, ...]) -> None:
        """Raises OSError: the directory in which this would be is not there, as its own entry has failed."""
        assert self._directories is not None
        try:
            self._directories.get(place[:-1])
        except FileNotFoundError as error:
            raise OSError(error.errno, "there is no directory for it; that could not be made") from None

    def has_leftover(self, place: tuple[bytes, ...]) -> bool:
        """Return whether an earlier attempt may have left something for a file."""
        if self._directories is None or self._options.dry_run or self._options.in_place:
            return False
        try:
            known = self._get(place[:-1])
        except OSError:
            return False
        if known.leftovers is None:
            known.leftovers = Leftovers(known.directory)
        return known.leftovers.has(place[-1])

    # Files

    def make_file(self, place: tuple[bytes, ...], entry: wire.Entry) -> Temporary:
        """Make the temporary file of an entry. Raises OSError."""
        known = self._get(place[:-1])
        if known.leftovers is None:
            known.leftovers = Leftovers(known.directory)
        made = create(known.directory, place[-1])
        try:
            self._check_folding(known, made.name, place[-1])
        except OSError:
            made.remove()
            raise
        return made

    def open_in_place(self, place: tuple[bytes, ...], entry: wire.Entry) -> tuple[Temporary, int]:
        """Open a file or device to write into it, or make it. Return it and the bytes that it has. Raises OSError."""
        known = self._get(place[:-1])
        name = place[-1]
        try:
            fd = os.open(name, IN_PLACE_FLAGS, dir_fd=known.directory.fd)
        except FileNotFoundError:
            flags = IN_PLACE_FLAGS | os.O_CREAT | os.O_EXCL
            fd = os.open(name, flags, mode_of(entry, self._options) | 0o200, dir_fd=known.directory.fd)
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return Temporary(known.directory, name, name, fd), status.st_size
        if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
            return Temporary(known.directory, name, name, fd), MAX_OFFSET_IN_FILE
        os.close(fd)
        raise OSError(errno.EEXIST, "there is no file and no device in its place any more")

    def is_regular(self, fd: int) -> bool:
        """Return whether an open file is a regular one, and no device."""
        return stat.S_ISREG(os.fstat(fd).st_mode)

    def set_for_file(self, fd: int, entry: wire.Entry, end: wire.FileEnd) -> None:
        """Set the attributes of a file that has arrived. Raises OSError, `wire.WireError`."""
        if not self._options.in_place or self.is_regular(fd):
            mode = mode_of(entry._replace(mode=end.mode), self._options)
            self._attributes.set_for_file(fd, mode, end.mtime, entry.xattrs if self._options.xattrs else b"")

    def set_attributes(self, entry: wire.Entry, place: tuple[bytes, ...], mode: int, mtime: int) -> None:
        """Set the attributes of a file or symbolic link that stays. Raises OSError, `wire.WireError`."""
        directory = self._get(place[:-1]).directory
        if entry.kind == wire.SYMLINK:
            self._attributes.set_for_symlink(directory, place[-1], mtime)
            return
        flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC
        with Directory(os.open(place[-1], flags, dir_fd=directory.fd), join(directory.path, place[-1])) as file:
            self._attributes.set_for_new_directory(file, entry.xattrs)
            self._attributes.set_for_directory(file, mode, mtime)

    # Directories and links

    def make_directory(self, entry: wire.Entry, place: tuple[bytes, ...], *, replaced: bool = False) -> Directory:
        """Make a directory, with `replaced` in the place of a file or link, and return that in which it is. Raises
        OSError, `wire.WireError`."""
        assert self._directories is not None
        parent = self._directories.get(place[:-1])
        if place:
            known = self._get(place[:-1])
            parent = known.directory
            self._check_folding(known, b"", place[-1])
            if replaced:
                os.unlink(place[-1], dir_fd=parent.fd)
            os.mkdir(place[-1], 0o700, dir_fd=parent.fd)
        with self._directories.get(()).below(place) as made:
            make_usable(made)
            self._attributes.set_for_new_directory(made, entry.xattrs)
        self._note(entry, place)
        return parent

    def keep_directory(self, entry: wire.Entry, place: tuple[bytes, ...]) -> None:
        """A directory is there already. Raises OSError, `wire.WireError`."""
        assert self._directories is not None
        directory = self._directories.get(place)
        if os.fstat(directory.fd).st_uid == os.geteuid():
            make_usable(directory)
        if entry.xattrs or self._options.owner:
            self._attributes.set_for_new_directory(directory, entry.xattrs)
        self._note(entry, place)

    def make_symlink(self, entry: wire.Entry, place: tuple[bytes, ...]) -> Directory:
        """Make a symbolic link, and return the directory in which it is. Raises OSError."""
        if b"\0" in entry.target:
            raise OSError(errno.EINVAL, "the target of this link contains a NUL character")
        known = self._get(place[:-1])
        directory, name = known.directory, temporary_name(place[-1])
        os.symlink(entry.target, name, dir_fd=directory.fd)
        try:
            self._check_folding(known, name, place[-1])
            self._attributes.set_for_symlink(directory, name, entry.mtime)
            self._replace(directory, name, place)
        except OSError:
            os.unlink(name, dir_fd=directory.fd)
            raise
        return directory

    def is_hardlink(self, target: tuple[bytes, ...], place: tuple[bytes, ...]) -> bool:
        """Return whether both are names of the same file. Raises OSError: a directory cannot be opened."""
        there, directory = self._get(target[:-1]).directory, self._get(place[:-1]).directory
        with contextlib.suppress(FileNotFoundError):
            one = os.lstat(target[-1], dir_fd=there.fd)
            return os.path.samestat(one, os.lstat(place[-1], dir_fd=directory.fd))
        return False

    def make_hardlink(self, target: tuple[bytes, ...], place: tuple[bytes, ...]) -> Directory | None:
        """Make another name of a file, and return the directory in which it is, or None if it is there already. Raises
        OSError."""
        known = self._get(place[:-1])
        there, directory = self._get(target[:-1]).directory, known.directory
        if self.is_hardlink(target, place):
            return None  # rename(2) would do nothing, and leave the temporary name
        name = temporary_name(place[-1])
        os.link(target[-1], name, src_dir_fd=there.fd, dst_dir_fd=directory.fd, follow_symlinks=False)
        try:
            self._check_folding(known, name, place[-1])
            self._replace(directory, name, place)
        except OSError:
            os.unlink(name, dir_fd=directory.fd)
            raise
        return directory

    def _replace(self, directory: Directory, name: bytes, place: tuple[bytes, ...]) -> None:
        if self._options.delete:
            self.moved.replace(directory, name, place)
        else:
            os.rename(name, place[-1], src_dir_fd=directory.fd, dst_dir_fd=directory.fd)

    # The end

    def finish(self, failed: Callable[[bytes, OSError], None]) -> None:
        """Give directories their modes and times, and make what was done durable. `failed` is called with those that
        did not get them. Raises OSError if what was noted cannot be read."""
        if self._directories is None or self._finals is None:
            return
        top = self._directories.get(())
        each = self._made <= FEW_DIRECTORIES
        for record in self._finals.backwards():
            mode, mtime, _ = _FINAL.unpack_from(record)
            path = record[_FINAL.size :]
            place = tuple(path.split(b"/")) if path else ()
            try:
                directory = self._directories.get(place)
                self._attributes.set_for_directory(directory, mode, mtime)
                if self._options.sync and (each or not self._durability.covers(directory)):
                    self._durability.sync_directories([directory], lambda at, error: failed(at.path, error))
            except OSError as error:
                failed(join(top.path, path) if path else top.path, error)
        if self._options.sync and not each:
            try:
                self._durability.sync_everything()
            except OSError as error:
                failed(top.path, error)

    def close(self) -> None:
        """Remove old leftovers where something was written."""
        for known in self._known.values():
            self._sweep(known)
        self._known.clear()

    def _note(self, entry: wire.Entry, place: tuple[bytes, ...]) -> None:
        assert self._finals is not None
        self._made += 1
        self._finals.append(_FINAL.pack(mode_of(entry, self._options), entry.mtime, 0) + b"/".join(place))

    def _get(self, components: tuple[bytes, ...]) -> _Known:
        assert self._directories is not None
        known = self._known.get(components)
        if known is not None:
            self._known.move_to_end(components)
            return known
        known = self._known[components] = _Known(self._directories.get(components))
        self._durability.register(known.directory)
        if len(self._known) > MAX_OPEN:
            self._sweep(self._known.popitem(last=False)[1])
        return known

    def _sweep(self, known: _Known) -> None:
        if known.leftovers is not None:
            known.leftovers.sweep()

    def _check_folding(self, known: _Known, made: bytes, name: bytes) -> None:
        """Find out whether the names in a directory are folded, by a name that was `made` there, and if so, whether
        `name` is another spelling of one that was written. Raises OSError."""
        if known.folds is None and made:
            try:
                status = os.lstat(made.upper(), dir_fd=known.directory.fd)
                known.folds = os.path.samestat(status, os.lstat(made, dir_fd=known.directory.fd))
            except OSError:
                known.folds = False
        if known.folds:
            key = folded(name)
            if known.written.setdefault(key, name) != name:
                other = os.fsdecode(known.written[key])
                raise OSError(
                    errno.EEXIST,
                    f"this file system does not distinguish it from {other!r}, which was transferred, too",
                )
