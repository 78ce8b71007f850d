"""Where the entries of a transfer go, by rsync's rule, and whether they were requested at all.

A destination that is a directory, or will be one, has the entries below it under their own paths. Otherwise one file
gets its name. Which it is is known with the first entry.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from . import wire
from .globs import compile_pattern, is_pattern, matches, takes_hidden
from .opening import Area, Directory, OpenDirectories
from .options import TransferOptions

NEW_DIRECTORY_MODE: Final = 0o777
"""The mode of a destination that is made, and of the directories above it; less the umask, as with mkdir(1)."""


class DestinationUnusable(Exception):
    """Nothing can be placed at the destination. Its cause is in `error`, an OSError."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class Destination:
    """The place of the entries of a transfer. `top` is the directory below which everything is written, None until it
    is known, and with `dry_run` if it does not exist; `made` is whether it was made."""

    def __init__(self, path: bytes, options: TransferOptions, area: Area) -> None:
        self.path = path
        self.top: Directory | None = None
        self.made = False
        self._options = options
        self._area = area
        self._name: bytes | None = None
        self._known = False
        self._unusable: DestinationUnusable | None = None
        self._used = False
        self._opened: list[OpenDirectories] = []

    def place(self, kind: int, components: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return where an entry is to be, below `top`. Raises OSError; `DestinationUnusable` for the first entry, and
        then for all others: what cannot take a directory must not be replaced by a file that was in it."""
        if self._unusable is not None:
            raise self._unusable
        if not self._known:
            try:
                self._find(kind == wire.DIRECTORY)
            except OSError as error:
                self._unusable = DestinationUnusable(error)
                raise self._unusable from error
            self._known = True
        if self._name is None:
            return components
        if len(components) != 1 or self._used or kind == wire.DIRECTORY:
            raise OSError(errno.ENOTDIR, "the destination is a file; only one file can be there", self.path)
        self._used = True
        return (self._name,)

    @property
    def is_directory(self) -> bool:
        """Whether entries are placed below it under their own paths. It is known after the first `place`."""
        return self._known and self._name is None

    def placed(self, components: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Return where an entry is whose place was returned before."""
        return components if self._name is None else (self._name,)

    @property
    def is_file(self) -> bool:
        """Whether one file gets the destination's name."""
        return self._name is not None

    def open_directories(self) -> OpenDirectories | None:
        """Return the directories below `top`, None if there is none. Each thread needs its own."""
        if self.top is None:
            return None
        made = OpenDirectories(self.top)
        self._opened.append(made)
        return made

    def close(self) -> None:
        """Close all directories: nothing is written there any more. May be called twice."""
        for each in self._opened:
            each.close()
        if self.top is not None:
            self.top.close()

    def _find(self, is_directory: bool) -> None:
        below = is_directory or self._options.into or self.path.endswith(b"/")
        try:
            self.top = self._area.open_directory(self.path)
            return
        except NotADirectoryError:
            if below:
                raise OSError(errno.ENOTDIR, "the destination is not a directory", self.path) from None
        except FileNotFoundError:
            if below:
                self.top = self._make(self.path, self._options.parents)
                self.made = True
                return
        if self._options.parents:
            self._make(os.path.dirname(self.path.rstrip(b"/")) or b".", True)
        try:
            self.top, self._name = self._area.parent(self.path)
        except FileNotFoundError:
            if not self._options.dry_run or not self._options.parents:
                raise self._missing(self.path) from None

    def _make(self, path: bytes, parents: bool) -> Directory | None:
        """Make a directory unless it exists, with `parents` also those above it, and open it. Raises OSError."""
        missing: list[bytes] = []
        while True:
            try:
                found = self._area.open_directory(path)
                break
            except FileNotFoundError:
                above, name = os.path.split(path.rstrip(b"/"))
                if not name or (missing and not parents):
                    raise self._missing(self.path) from None
                missing.append(path)
                path = above or b"."
        for each in reversed(missing):
            if self._options.dry_run:
                return None
            parent, name = self._area.parent(each)
            with parent:
                try:
                    os.mkdir(name, NEW_DIRECTORY_MODE, dir_fd=parent.fd)
                    if self._options.sync:
                        _sync(parent)
                except FileExistsError:
                    pass
                except OSError as error:
                    raise OSError(error.errno, error.strerror, each) from None
            found = self._area.open_directory(each)
        return found

    def _missing(self, path: bytes) -> OSError:
        above = os.path.dirname(path.rstrip(b"/")) or b"."
        with contextlib.suppress(OSError), self._area.open_directory(above):
            return OSError(errno.ENOENT, "this is a symbolic link that leads into no directory there is", path)
        text = f"there is no directory {os.fsdecode(above)!r}; --parents makes it"
        return OSError(errno.ENOENT, text, path)


def _sync(parent: Directory) -> None:
    """Make a new name in a directory durable: what is below it will be told to be. Raises OSError."""
    try:
        parent.sync()
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):  # not every file system can, and not every user
            raise


class Requested:
    """What a client has requested from a service that sends: nothing else may be placed below its destination."""

    def __init__(self, options: TransferOptions) -> None:
        self._anything = options.operation != "get"
        self._names: set[bytes] = set()
        self._matched = b""
        self._patterns = []
        for path in options.paths if not self._anything else ():
            name = path.rsplit(b"/", 1)[-1]
            if name in (b"", b".", b".."):
                self._anything = True
            else:
                self._names.add(name)
                if is_pattern(name):
                    self._patterns.append((takes_hidden(name), compile_pattern(name)))

    def includes(self, components: tuple[bytes, ...]) -> bool:
        """Return whether an entry with these components belongs to one of the sources."""
        if self._anything:
            return True
        if not components:
            return False
        name = components[0]
        if name in self._names or name == self._matched:
            return True
        hidden = name.startswith(b".")
        if any(hidden is takes and matches(pattern, name) for takes, pattern in self._patterns):
            self._matched = name  # most of what follows is below it
            return True
        return False
