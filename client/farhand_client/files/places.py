"""What a transfer moves, and from where to where: paths on this machine and on the service's, and open files."""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any, Final, TypeAlias

from farhand_client.arguments import as_bytes, shortened, type_error
from farhand_client.options import Argument
from farhand_protocol.values import MAX_PATHS

FileSource: TypeAlias = "Argument | int | IO[bytes]"
"""What `Client.put` reads: a path, or a file that is open for reading, or its descriptor."""

FileDestination: TypeAlias = "Argument | int | IO[bytes]"
"""Where `Client.get` writes: a path, or a file that is open for writing, or its descriptor."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A path on the service's machine, for `Client.sync`. A relative one begins at the user's home."""

    path: Argument


def remote_path(value: object, where: str) -> bytes:
    """Return a path on the service's machine; an empty one is the user's home. Raises TypeError and ValueError."""
    return as_bytes(value.path if isinstance(value, Remote) else value, where) or b"."


def remote_paths(value: Any, where: str) -> tuple[bytes, ...]:
    """Return one or several paths on the service's machine. Raises TypeError and ValueError."""
    if isinstance(value, str | bytes | os.PathLike | Remote):
        return (remote_path(value, where),)
    return tuple(remote_path(each, f"{where}[{at}]") for at, each in enumerate(_several(value, where)))


def local_path(value: object, where: str) -> bytes:
    """Return a path on this machine. Raises TypeError and ValueError."""
    if isinstance(value, Remote):
        raise TypeError(f"{where} is a Remote; it must be a path on this machine")
    path = as_bytes(value, where)
    if not path:
        raise ValueError(f"{where} is an empty path")
    return path


def local_sources(value: Any, where: str) -> tuple[bytes | OpenFile, ...]:
    """Return one or several paths on this machine or files that are open here. Raises TypeError and ValueError."""
    if isinstance(value, str | bytes | os.PathLike | int | Remote) or hasattr(value, "read"):
        return (_local_source(value, where),)
    return tuple(_local_source(each, f"{where}[{at}]") for at, each in enumerate(_several(value, where, None)))


def local_destination(value: Any, where: str) -> bytes | OpenFile:
    """Return a path on this machine or a file that is open for writing. Raises TypeError and ValueError."""
    if isinstance(value, str | bytes | os.PathLike | Remote):
        return local_path(value, where)
    return open_file(value, where, os.O_WRONLY)


def _local_source(value: Any, where: str) -> bytes | OpenFile:
    if isinstance(value, str | bytes | os.PathLike | Remote):
        return local_path(value, where)
    return open_file(value, where, os.O_RDONLY)


def _several(value: Any, where: str, limit: int | None = MAX_PATHS) -> Sequence[Any]:
    try:
        several = list(value)
    except TypeError:
        raise type_error(where, value, "a path, an open file, or several of them in a list") from None
    if not several or (limit is not None and len(several) > limit):
        wanted = "at least 1" if limit is None else f"1 to {limit}"
        raise ValueError(f"{where} has {len(several)} elements; it must have {wanted}")
    return several


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that the caller has opened: its descriptor, and the name under which a directory gets it."""

    descriptor: int
    name: bytes


_UNNAMED: Final = b"stdin"

_ACCESS: Final = {os.O_RDONLY: "reading", os.O_WRONLY: "writing"}


def open_file(value: Any, where: str, access: int) -> OpenFile:
    """Return the descriptor of a file that is open for `access`, at the place where the Python object is.

    Raises TypeError and ValueError.
    """
    number = _descriptor(value, where)
    try:
        status = os.fstat(number)
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError):
        raise ValueError(f"{where} is {shortened(number)}, which is not an open file descriptor") from None
    if stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{where} is the descriptor of a directory; pass its path")
    if mode not in (access, os.O_RDWR):
        raise ValueError(f"{where} is descriptor {number}, which was not opened for {_ACCESS[access]}")
    if not isinstance(value, int):
        _leave_buffer(value, number, access)
    name = getattr(value, "name", None)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return OpenFile(number, os.fsencode(PurePath(name).name) if isinstance(name, str) else _UNNAMED)


def _descriptor(value: Any, where: str) -> int:
    if isinstance(value, bool):
        raise type_error(where, value, "a path, an open file, or its descriptor")
    if isinstance(value, int):
        return value
    if isinstance(value, io.TextIOBase) and not hasattr(value, "buffer"):
        raise TypeError(f"{where} is {type(value).__name__}, which has no bytes; use a file that was opened as binary")
    try:
        return int(value.fileno())
    except (AttributeError, OSError, ValueError):  # io.UnsupportedOperation, or it is closed
        text = "it must be a path, or an open file of the operating system, or its descriptor"
        raise TypeError(f"{where} is {type(value).__name__}; {text}") from None


def _leave_buffer(file: Any, number: int, access: int) -> None:
    """Let the descriptor be where the Python object is: that may have read ahead, or not have written all."""
    if access == os.O_WRONLY:
        file.flush()
    elif file.seekable():
        os.lseek(number, file.tell(), os.SEEK_SET)
