"""Reads a file that grants access, but only if nobody except its owner and root could have written it.

The rules are those of sshd's StrictModes: the file and all directories up to the home directory or / must belong to the
user or root, and must not be writable by anyone else. One thing is allowed that sshd refuses: a sticky directory such
as /tmp, where others can add entries but cannot touch those of the user and root, and only the latter are accepted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

from .messages import KeyFileRead, ReadKeyFile

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_UNREADABLE = frozenset({errno.EACCES, errno.EIO, errno.EPERM, errno.ESTALE, errno.ETIMEDOUT})

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class KeyFileError(Exception):
    """The file exists but must not be used. The message says which path, why, and what to do."""


class KeyFileUnavailable(KeyFileError):
    """The service cannot read the file now, which says nothing about the file or its user. `why` is the kernel's
    reason."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message, why)
        self.why = why

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.why}"


class FileIdentity(NamedTuple):
    """What changes when a file is replaced or written to (inode(7)). Nobody can set the time of the last change."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileIdentity:
        """Return the identity of an open file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class KeyFileContents(NamedTuple):
    """An accepted file. `data` is None if its identity was known, so that it was not read."""

    identity: FileIdentity
    data: bytes | None


def answer_key_file(question: ReadKeyFile) -> tuple[KeyFileRead, int | None]:
    """Answer with the file's contents, or why it must not be used."""
    path = Path(os.fsdecode(question.path))
    known = (FileIdentity(*question.known),) if len(question.known) == len(FileIdentity._fields) else ()
    try:
        opened = open_key_file(
            path,
            uid=question.uid,
            home=Path(os.fsdecode(question.home)),
            max_size=question.max_size,
            known=known,
            own=bool(question.own),
        )
        if opened is None:
            return KeyFileRead(0, b"", b"", 0, ()), None
        by_user = int(may_have_written(path, question.uid))
        fd = None if opened.data is None else _memory_file(opened.data)
        return KeyFileRead(1, b"", b"", by_user, tuple(opened.identity)), fd
    except KeyFileUnavailable as error:
        return KeyFileRead(0, os.fsencode(error.args[0]), os.fsencode(error.why), 0, ()), None
    except KeyFileError as error:
        return KeyFileRead(0, os.fsencode(str(error)), b"", 0, ()), None


def may_have_written(path: Path, uid: int) -> bool:
    """Whether the user could have written a file, because the file, or a directory or link on its path, is the
    user's."""
    real = Path(os.path.realpath(path))
    try:
        return any(each.lstat().st_uid == uid for each in (path, *path.parents, real, *real.parents))
    except OSError:
        return True


SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def _memory_file(data: bytes) -> int:
    """Return a file in memory that can be read without waiting and cannot change any more (memfd_create(2))."""
    fd = os.memfd_create("farhandd-key-file", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:  # a descriptor, not a path
        file.write(data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def contents(fd: int, max_size: int) -> bytes:
    """Return what `_memory_file` was given. Raises OSError for any other file, which could hang the reader, or fill its
    memory if it is longer than `max_size` bytes."""
    if fcntl.fcntl(fd, fcntl.F_GET_SEALS) != SEALS or (size := os.fstat(fd).st_size) > max_size:
        raise OSError(errno.EPROTO, "the worker has answered with another file")
    return os.pread(fd, size, 0)


def read_key_file(path: Path, *, uid: int, home: Path, max_size: int) -> bytes | None:
    """Return the file's contents, or None if it does not exist. See `open_key_file`."""
    opened = open_key_file(path, uid=uid, home=home, max_size=max_size)
    return None if opened is None else opened.data


def open_key_file(
    path: Path, *, uid: int, home: Path, max_size: int, known: Container[FileIdentity] = (), own: bool = True
) -> KeyFileContents | None:
    """Return the file's identity and contents, or None if it does not exist. One that is `known` is checked, but not
    read. `own` tells whether it is read with the service's own rights.

    Symbolic links are followed first, and the rules apply to their target. The file itself is then opened once, without
    following links and without blocking (so a FIFO or a lease cannot hang anybody), and the opened file is checked.
    Raises KeyFileError if the file is not a regular file, is not owned by `uid` or root, is writable by others, is
    below a directory with wrong owner or mode, is longer than `max_size` bytes, or is unreadable.
    """
    try:
        return _read(path, uid, home, max_size, known)
    except OSError as error:
        reason = error.strerror or str(error)
        # What the service may not read with its own rights, or lacks descriptors for, is nobody else's fault.
        if error.errno in _EXHAUSTED or (own and error.errno in _UNREADABLE):
            raise KeyFileUnavailable(f"{path}: cannot be read", reason) from None
        raise KeyFileError(f"{path}: cannot be read: {reason}") from None


def _read(path: Path, uid: int, home: Path, max_size: int, known: Container[FileIdentity]) -> KeyFileContents | None:
    real = Path(os.path.realpath(path))
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in _EXHAUSTED | _UNREADABLE:
            raise
        raise KeyFileError(f"{path}: cannot be opened: {error.strerror}") from None
    try:
        identity = _check(path, real, descriptor, uid, home)
        if identity in known:
            return KeyFileContents(identity, None)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_size + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_size:
        raise KeyFileError(f"{path}: is longer than {max_size} bytes")
    return KeyFileContents(identity, data)


def _check(path: Path, real: Path, descriptor: int, uid: int, home: Path) -> FileIdentity:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: is not a regular file")
    _check_owner_and_mode(real, status, uid)
    for directory in _parents(real, home):
        _check_owner_and_mode(directory, directory.stat(), uid)
    return FileIdentity.of(status)


def _parents(path: Path, home: Path) -> Iterator[Path]:
    stop = Path(os.path.realpath(home))
    for directory in path.parents:
        yield directory
        if directory == stop:
            return


def _check_owner_and_mode(path: Path, status: os.stat_result, uid: int) -> None:
    if status.st_uid not in (0, uid):
        raise KeyFileError(f"{path}: belongs to user {status.st_uid}, not to the user ({uid}) or root")
    sticky_directory = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & _WRITABLE_BY_OTHERS and not sticky_directory:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyFileError(f"{path}: is writable by others (mode {mode:04o}); run: chmod go-w {path}")
