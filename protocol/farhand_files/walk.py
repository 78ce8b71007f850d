"""The entries of the sources, in the order in which they are sent: each directory before what is in it.

The tree is never listed as a whole: a directory is read in batches, sorted by name, and what is in its subdirectories
follows each batch. Everything below a source is opened by its name in an open directory, and no symbolic link is
followed; only the sources themselves, which the user has typed, may be or contain some.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from collections.abc import Generator, Sequence
from typing import Final

from . import wire
from .attributes import kept_xattrs
from .globs import expand, is_pattern
from .names import is_temporary
from .opening import Area, join
from .options import TransferOptions
from .pseudo import pseudo_devices
from .rows import FileRows
from .selection import Selection
from .sources import SourceDirectory, SourceTrees
from .steps import Pipe, Piped, Readable, ReadableRows, WalkStep
from .visit import Visit

BATCH: Final = 1024
"""Names that are read from a directory at once, to be sorted: some 100 KiB."""

MIN_ROWS: Final = 8
"""Files from which a table is worth it: it costs as much as some entries."""

MAX_SCANS: Final = 64
"""Directories of more than a batch that are held open while what is below them is walked; the names of further ones are
read at once. Few trees have ten such directories in a path, and a process may have 1,024 descriptors."""

MAX_HARDLINKS: Final = 32_768
"""Files with further names that are known at a time, some 10 MiB; they are forgotten once all their names were seen. A
further name of a file that is not known is sent as a file of its own."""

MAX_XATTRS: Final = 1 << 20
"""Bytes of extended attributes of one entry: they have to fit in a frame. Linux allows 64 KiB for each name."""

PIPE_MODE: Final = 0o644
"""The mode of a file that is made of what comes out of a pipe: that of a new file with the usual umask."""

_SPECIAL: Final = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}

_MEETS: Final = "another source goes to the same directory; with delete, transfer one at a time"

_PSEUDO_SIZES: Final = (0, 4096)


class Walk:
    """Finds the entries of sources. `batches` yields them; the other attributes are what it has found so far.

    `entries` are numbered from 0, `size` is the sum of the known sizes of regular files, `complete` is whether
    everything could be read. `names` are the paths of the sources' own entries, and the sources: see `source_of`.
    """

    def __init__(
        self, sources: Sequence[bytes | Pipe], options: TransferOptions, area: Area, *, patterns: bool = False
    ) -> None:
        """`patterns`: sources may be patterns. Raises `wire.WireError` for an exclude that is no pattern."""
        self.entries = 0
        self.size = 0
        self.complete = True
        self._sources = sources
        self._area = area
        self._trees = SourceTrees(area)
        self._patterns = patterns
        self._xattrs = options.xattrs and hasattr(os, "listxattr")
        self._selection: Selection | None = None
        if options.excludes or options.max_size is not None or options.newer_than is not None:
            self._selection = Selection(options)
        self._hardlinks: dict[tuple[int, int], tuple[int, int]] = {}
        self._scans = 0
        self._delete = options.delete
        self._in_range = options.in_range
        self.names: dict[bytes, bytes] = {}
        self._pseudo: frozenset[int] | None = None
        self._found: list[WalkStep] = []

    def batches(self) -> Generator[list[WalkStep], None, None]:
        """Yield what is found. Closing the generator closes what it reads."""
        for source in self._sources:
            if isinstance(source, Pipe):
                self._add_pipe(source)
                yield self._take()
                continue
            paths = self._expand(source) if self._patterns and is_pattern(source) else [source]
            yield self._take()
            for path in paths:
                visit = self._add_source(path)
                yield self._take()
                if visit is not None:
                    yield from self._tree(visit)

    def close(self) -> None:
        """Close the directories of the sources: no file is read any more."""
        self._trees.close()

    def _take(self) -> list[WalkStep]:
        found, self._found = self._found, []
        return found

    def _add_pipe(self, pipe: Pipe) -> None:
        now = time.time_ns()
        name = pipe.name or b"-"
        entry = wire.Entry(self.entries, wire.REGULAR, PIPE_MODE, os.geteuid(), os.getegid(), now, -1, name)
        self.entries += 1
        self._found.append(Piped(entry, pipe))

    def _expand(self, pattern: bytes) -> list[bytes]:
        try:
            found = expand(self._area, pattern)
        except OSError as error:
            self._add_error(error, pattern)
            return []
        if not found:
            self._add_failure(errno.ENOENT, pattern, "no file matches")
        return found

    def _add_source(self, source: bytes) -> Visit | None:
        """Add the entry of a source, and return the directory to be walked if it is one."""
        name = source.rsplit(b"/", 1)[-1]
        only_content = name in (b"", b".", b"..")
        try:
            directory = self._area.open_directory(source)
        except NotADirectoryError as error:
            if only_content:
                self._add_error(error, source)
            else:
                self._add_single(source, name)
            return None
        except OSError as error:
            self._add_error(error, source)
            return None
        path = b"" if only_content else name
        if self._selection is not None and not self._selection.takes(path, True):
            return None
        if self._delete and self._meets_another(path):
            self._add_failure(errno.EINVAL, source, _MEETS)
            return None
        self.names[path] = b"" if path in self.names else source
        xattrs = self._xattrs_of(b"/proc/self/fd/%d" % directory.fd, source, follow=True) if self._xattrs else b""
        entry = self._entry(wire.DIRECTORY, os.fstat(directory.fd), path, xattrs=xattrs)
        self._found.append(entry)
        place = SourceDirectory(self._trees.add(source, directory), (), source.rstrip(b"/") or b"/")
        return Visit(place, path, entry.number)

    def _add_single(self, source: bytes, name: bytes) -> None:
        """Add a source that is no directory. A symbolic link is followed, since the user has named it."""
        try:
            directory, real = self._area.parent(source)
            status = os.lstat(real, dir_fd=directory.fd)
        except OSError as error:
            self._add_error(error, source)
            return
        special = _SPECIAL.get(stat.S_IFMT(status.st_mode))
        if special is not None:
            self._add_failure(errno.EOPNOTSUPP, source, f"this is {special}, which is not transferred")
        elif not stat.S_ISREG(status.st_mode):
            self._add_failure(errno.ESTALE, source, "this was replaced while it was being opened")
        elif self._delete and self._meets_another(name):
            self._add_failure(errno.EINVAL, source, _MEETS)
        elif name in self.names:
            self._add_failure(errno.EEXIST, source, "another source has the same name")
        else:
            self.names[name] = source
            place = SourceDirectory(self._trees.add(directory.path, directory), (), directory.path)
            self._add_file(place, name, real, status, directory.fd)

    def _meets_another(self, path: bytes) -> bool:
        """Return whether another source goes to the same directory: what one of them lacks the other may have."""
        return path in self.names or b"" in self.names or (not path and bool(self.names))

    def _tree(self, top: Visit) -> Generator[list[WalkStep], None, None]:
        stack = [top]
        try:
            while stack:
                visit = stack[-1]
                if visit.below:
                    name, number = visit.below.pop()
                    place = SourceDirectory(
                        visit.place.tree, (*visit.place.components, name), join(visit.place.path, name)
                    )
                    stack.append(Visit(place, visit.path + b"/" + name if visit.path else name, number))
                elif visit.over:
                    stack.pop()
                else:
                    self._add_batch(visit)
                    yield self._take()
        finally:
            for visit in stack:
                self._close(visit)

    def _close(self, visit: Visit) -> None:
        if visit.fd >= 0:
            self._scans -= 1
        visit.close()

    def _add_batch(self, visit: Visit) -> None:
        """Add the next entries of a directory, and after the last ones that it is listed."""
        limit: int | None = BATCH
        batch: list[tuple[bytes, os.DirEntry[str]]] = []
        try:
            directory = visit.place.tree.get(visit.place.components)
            if visit.scan is None:
                visit.fd = directory.readable()
                self._scans += 1
                visit.scan = os.scandir(visit.fd)
            if self._scans > MAX_SCANS:
                limit = None
            batch = [(os.fsencode(each.name), each) for each in itertools.islice(visit.scan, limit)]
        except OSError as error:
            self._add_error(error, visit.place.path)
            visit.complete, limit = False, None
        else:
            batch.sort(key=_first)
            prefix = visit.path + b"/" if visit.path else b""
            room = wire.MAX_PATH - len(prefix)
            rows: list[tuple[bytes, os.stat_result]] = []
            for name, each in batch:
                try:
                    status = each.stat(follow_symlinks=False)
                    if self._is_row(name, status) and len(name) <= room:
                        rows.append((name, status))
                        continue
                    self._add_rows(visit, rows, directory.fd)
                    self._add(visit, prefix + name, name, status, directory.fd)
                except FileNotFoundError:
                    continue  # removed since its name was read: it is not in the tree
                except OSError as error:
                    visit.complete = False
                    self._add_error(error, join(visit.place.path, name))
            self._add_rows(visit, rows, directory.fd)
        visit.below.reverse()
        if limit is None or len(batch) < limit:
            self._close(visit)
            visit.over = True
            self._found.append(wire.Listed(visit.number, int(visit.complete)))

    def _is_row(self, name: bytes, status: os.stat_result) -> bool:
        """Return whether this may be in a table."""
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_nlink == 1
            and not self._xattrs
            and not name.startswith(b".farhand-")
            and not (status.st_size in _PSEUDO_SIZES and self._is_pseudo(status.st_dev))
        )

    def _add_rows(self, visit: Visit, found: list[tuple[bytes, os.stat_result]], fd: int) -> None:
        """Add the files of a directory that follow each other, and empty the list of them."""
        if not found:
            return
        prefix, selection = visit.path + b"/" if visit.path else b"", self._selection
        if len(found) < MIN_ROWS:
            for name, status in found:
                self._add_file(visit.place, prefix + name, name, status, fd)
            found.clear()
            return
        if selection is not None:
            takes = selection.takes
            found[:] = [each for each in found if takes(prefix + each[0], False, each[1].st_size, each[1].st_mtime_ns)]
        for at in range(0, len(found), wire.MAX_ROWS):
            several = found[at : at + wire.MAX_ROWS]
            sizes = [status.st_size for _, status in several]
            mtimes = [wire.nearest_time(status.st_mtime_ns) for _, status in several]
            self.size += sum(size for size, mtime in zip(sizes, mtimes, strict=True) if self._in_range(size, mtime))
            modes = [status.st_mode & 0o7777 for _, status in several]
            rows = FileRows(self.entries, visit.path, [name for name, _ in several], modes, sizes, mtimes)
            self.entries += len(rows)
            self._found.append(ReadableRows(rows, visit.place))
        found.clear()

    def _add(self, visit: Visit, path: bytes, name: bytes, status: os.stat_result, fd: int) -> None:
        """Add what is in a directory. Raises OSError."""
        mode = status.st_mode
        if name.startswith(b".farhand-") and is_temporary(name):
            return  # of a transfer that is under way, or was cut off
        if len(path) > wire.MAX_PATH:
            raise OSError(errno.ENAMETOOLONG, f"the path is longer than {wire.MAX_PATH} bytes")
        if stat.S_ISREG(mode):
            self._add_file(visit.place, path, name, status, fd)
        elif self._selection is not None and self._selection.excludes(path, stat.S_ISDIR(mode)):
            return
        elif stat.S_ISDIR(mode):
            xattrs = b""
            if self._xattrs:
                xattrs = self._xattrs_of(b"/proc/self/fd/%d/%s" % (fd, name), join(visit.place.path, name))
            entry = self._entry(wire.DIRECTORY, status, path, xattrs=xattrs)
            visit.below.append((name, entry.number))
            self._found.append(entry)
        elif stat.S_ISLNK(mode):
            target = os.readlink(name, dir_fd=fd)
            self._found.append(self._entry(wire.SYMLINK, status, path, target=target))
        else:
            what = f"this is {_SPECIAL.get(stat.S_IFMT(mode), 'no file')}, which is not transferred"
            self._found.append(wire.Problem(0, join(visit.place.path, name)[: wire.MAX_PATH], what.encode()))

    def _add_file(self, place: SourceDirectory, path: bytes, name: bytes, status: os.stat_result, fd: int) -> None:
        size = status.st_size
        if size in _PSEUDO_SIZES and self._is_pseudo(status.st_dev):
            size = -1
        if self._selection is not None and not self._selection.takes(path, False, size, status.st_mtime_ns):
            return
        if status.st_nlink > 1:
            known = self._known_name(status)
            if known is not None:
                self._found.append(self._entry(wire.HARDLINK, status, path, target=b"%d" % known))
                return
        xattrs = b""
        if self._xattrs:
            xattrs = self._xattrs_of(b"/proc/self/fd/%d/%s" % (fd, name), join(place.path, name))
        if size > 0 and self._in_range(size, status.st_mtime_ns):  # with `delete` others are entries, too
            self.size += size
        entry = self._entry(wire.REGULAR, status, path, size=size, xattrs=xattrs)
        self._found.append(Readable(entry, place, name))

    def _known_name(self, status: os.stat_result) -> int | None:
        """Return the entry that is another name of this file. If there is none, the next entry may be one later."""
        key = (status.st_dev, status.st_ino)
        known = self._hardlinks.get(key)
        if known is None:
            if len(self._hardlinks) < MAX_HARDLINKS:
                self._hardlinks[key] = (self.entries, status.st_nlink - 1)
            return None
        number, left = known
        if left > 1:
            self._hardlinks[key] = (number, left - 1)
        else:
            del self._hardlinks[key]
        return number

    def _is_pseudo(self, device: int) -> bool:
        if self._pseudo is None:
            self._pseudo = pseudo_devices()
        return device in self._pseudo

    def _xattrs_of(self, path: bytes, shown: bytes, *, follow: bool = False) -> bytes:
        """Return the extended attributes of a file, packed. What cannot be read is added as a problem."""
        try:
            pairs = kept_xattrs(path, follow=follow)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENODATA, errno.ENOENT):
                self._add_error(error, shown)
            return b""
        packed = wire.pack_xattrs(pairs)
        if len(packed) > MAX_XATTRS:
            self._add_failure(errno.E2BIG, shown, f"more than {MAX_XATTRS} bytes of extended attributes are not kept")
            return b""
        return packed

    def _entry(
        self,
        kind: int,
        status: os.stat_result,
        path: bytes,
        *,
        size: int = 0,
        target: bytes = b"",
        xattrs: bytes = b"",
    ) -> wire.Entry:
        number = self.entries
        self.entries = number + 1
        return wire.Entry(
            number,
            kind,
            status.st_mode & 0o7777,
            status.st_uid,
            status.st_gid,
            wire.nearest_time(status.st_mtime_ns),
            size,
            path,
            target,
            xattrs,
        )

    def _add_error(self, error: OSError, path: bytes) -> None:
        self._add_failure(error.errno or errno.EIO, path, error.strerror or str(error))

    def _add_failure(self, number: int, path: bytes, sentence: str) -> None:
        self.complete = False
        self._found.append(wire.Problem(number, path[: wire.MAX_PATH], sentence.encode()[: wire.MAX_SENTENCE_SIZE]))


def _first(pair: tuple[bytes, os.DirEntry[str]]) -> bytes:
    return pair[0]
