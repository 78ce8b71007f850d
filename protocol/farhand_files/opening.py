"""Opens paths below a directory, and nothing outside of it.

There are two sorts of paths. Those that the user has typed (`Area`) may contain symbolic links. They are resolved
first, then compared with the directories that may be used, and what came out is opened without following anything: a
link that was put there in between is an error, not a way out. Those that come from the other side (`OpenDirectories`)
are opened component by component, each below the descriptor of the one before, and never follow a link.

`openat2` (Linux 5.6) opens several components at once. Where it is missing, or a seccomp filter refuses it, the same is
done step by step.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_OPEN: Final = 64
"""Directories that stay open for the next file: deeper trees are rare, and 1,024 descriptors are all that a process
usually has."""

_HELD: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""O_PATH: no permission to read the directory is needed to use what is in it. macOS has no such flag."""


class Outside(PermissionError):
    """A path that is not in a directory that may be used."""

    def __init__(self, path: bytes) -> None:
        super().__init__(errno.EACCES, "this is not in a directory that may be used", path)

    def __reduce__(self) -> tuple[type[Outside], tuple[object]]:
        return Outside, (self.filename,)


class Directory:
    """An open directory. What is done below its descriptor stays there, even if the directory is moved.

    `path` is for people: where it was when it was opened. The descriptor is for `dir_fd` only, not for reading;
    `readable` returns one that is. It is closed at the latest when nothing refers to the object any more.
    """

    __slots__ = ("fd", "path")

    def __init__(self, fd: int, path: bytes) -> None:
        self.fd = fd
        self.path = path

    def child(self, name: bytes) -> Directory:
        """Open a directory in this one. Raises OSError: ELOOP for a symbolic link, which is never followed."""
        return self.below((name,))

    def below(self, components: Sequence[bytes]) -> Directory:
        """Open a directory below this one, or this one again. No symbolic link is followed. Raises OSError."""
        path = join(self.path, *components)
        for name in components:
            if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
                raise OSError(errno.EINVAL, "this is no name of a file", path)
        return Directory(_open_below(self.fd, components or (b".",), path), path)

    def readable(self) -> int:
        """Open this directory for reading and return the descriptor, which is the caller's. Raises OSError."""
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)

    def sync(self) -> None:
        """Make the names in this directory durable. Raises OSError."""
        fd = self.readable()
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the descriptor. May be called twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class _Root(NamedTuple):
    """A directory that may be used: one that may be a symbolic link, and names below it that may not."""

    trusted: bytes
    below: tuple[bytes, ...]

    @classmethod
    def of(cls, path: bytes, writable: Sequence[bytes]) -> _Root:
        names = os.path.normpath(path).split(b"/")
        for size in range(1, len(names)):
            above = b"/".join(names[:size]) or b"/"
            if any(above == os.path.normpath(each) for each in writable):
                return cls(above, tuple(filter(None, names[size:])))
        return cls(path, ())


class Area:
    """Where the paths that a user has typed may be: below any of `roots`, or anywhere if there is no list of them.

    Relative paths begin at `base`, which is absolute. The roots are trusted: they may be symbolic links themselves. But
    what of a root is below one of `writable`, where the user may put a link, must be none.
    """

    def __init__(self, roots: Sequence[bytes] | None, base: bytes, writable: Sequence[bytes] = ()) -> None:
        self._roots = None if roots is None else tuple(_Root.of(root, writable) for root in roots)
        self._base = base

    def open_directory(self, path: bytes) -> Directory:
        """Open a directory. Raises OSError, `Outside`."""
        full = self._absolute(path)
        if self._roots is None:
            return Directory(os.open(full, _HELD), full)
        root, components = self._find(os.path.realpath(full), path)
        with Directory(os.open(root.trusted, _HELD), root.trusted) as top:
            return top.below(root.below + components)

    def parent(self, path: bytes, *, follow: bool = True) -> tuple[Directory, bytes]:
        """Open the directory in which `path` is, and return it with the last name of the path, which need not exist.

        If that is a symbolic link, `follow` says whether it is resolved, so that the result is where it points to.
        Raises OSError: EISDIR for a path without a last name; `Outside`, also for a root itself.
        """
        full = self._absolute(path).rstrip(b"/")
        if follow:
            full = os.path.realpath(full)
        above, name = os.path.split(full)
        if name in (b"", b".", b".."):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if self._roots is None:
            return Directory(os.open(above, _HELD), above), name
        root, components = self._find(os.path.join(os.path.realpath(above), name), path)
        if not components:
            raise Outside(path)
        with Directory(os.open(root.trusted, _HELD), root.trusted) as top:
            return top.below(root.below + components[:-1]), name

    def _absolute(self, path: bytes) -> bytes:
        if not path or b"\0" in path:
            raise OSError(errno.EINVAL, "this is no path", path)
        return os.path.join(self._base, path)

    def _find(self, resolved: bytes, path: bytes) -> tuple[_Root, tuple[bytes, ...]]:
        """Return the root in which a path without symbolic links is, and the components below it. `path` is what the
        user has typed."""
        assert self._roots is not None
        for root in self._roots:
            real = os.path.join(os.path.realpath(root.trusted), *root.below)
            if resolved == real:
                return root, ()
            inside = real.rstrip(b"/") + b"/"
            if resolved.startswith(inside):
                return root, tuple(resolved[len(inside) :].split(b"/"))
        raise Outside(path)


class OpenDirectories:
    """Opens the directories below one, and keeps the last `MAX_OPEN` of them open. For one thread.

    One that is returned remains open for as long as the caller refers to it; do not close it.
    """

    def __init__(self, top: Directory) -> None:
        self._top = top
        self._open: OrderedDict[tuple[bytes, ...], Directory] = OrderedDict()

    def get(self, components: tuple[bytes, ...]) -> Directory:
        """Return an open directory. No symbolic link is followed. Raises OSError."""
        if not components:
            return self._top
        found = self._open.get(components)
        if found is not None:
            self._open.move_to_end(components)
            return found
        above = self._open.get(components[:-1])
        made = above.child(components[-1]) if above is not None else self._top.below(components)
        self._open[components] = made
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return made

    def forget(self, components: tuple[bytes, ...]) -> None:
        """Do not use again what was opened at or below these components: it was removed or replaced."""
        size = len(components)
        for each in [each for each in self._open if each[:size] == components]:
            del self._open[each]

    def close(self) -> None:
        """Close them all, whoever refers to them. May be called twice."""
        while self._open:
            self._open.popitem()[1].close()


def join(path: bytes, *names: bytes) -> bytes:
    """Return the path of something below a directory, for people."""
    return b"/".join((path.rstrip(b"/"), *names)) if names else path


class _How(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_OPENAT2: Final = 437  # on every architecture for which there is Python, but Alpha
_RESOLVE: Final = 0x08 | 0x04 | 0x02  # RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_UNAVAILABLE: Final = (errno.ENOSYS, errno.EPERM, errno.E2BIG, errno.EINVAL)
"""How a kernel, or a seccomp filter, refuses openat2. The steps then find out whether it was meant otherwise."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall_answers = sys.platform == "linux"


def _open_below(top: int, components: Sequence[bytes], path: bytes) -> int:
    """Open a directory below a descriptor; the components were checked."""
    global _syscall_answers
    if len(components) > 1 and _syscall_answers:
        how = _How(_HELD, 0, _RESOLVE)
        name = b"/".join(components)
        fd: int = _libc.syscall(_OPENAT2, top, name, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number == errno.ENOSYS:
            _syscall_answers = False
        elif number not in _UNAVAILABLE and number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)
    return _open_steps(top, components, path)


def _open_steps(top: int, components: Sequence[bytes], path: bytes) -> int:
    at = top
    try:
        for name in components:
            below = _open_step(at, name, path)
            if at != top:
                os.close(at)
            at = below
    except BaseException:
        if at != top:
            os.close(at)
        raise
    return at


def _open_step(at: int, name: bytes, path: bytes) -> int:
    try:
        return os.open(name, _HELD | os.O_NOFOLLOW, dir_fd=at)
    except OSError as error:
        number = error.errno
        if number == errno.ENOTDIR and stat.S_ISLNK(os.lstat(name, dir_fd=at).st_mode):
            number = errno.ELOOP
        assert number is not None
        raise OSError(number, os.strerror(number), path) from None
