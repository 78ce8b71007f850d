"""Records that are needed at the end of a transfer: a million of them take no more memory than a thousand.

They are written to a file without a name, which is gone when the process is. As long as there are few, there is none.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Final

from .opening import Directory
from .temporary import create

MAX_SPILL_TAIL: Final = 256 * 1024
"""Bytes of records in memory: those of some thousand files. More are written to the file."""

_SIZE: Final = struct.Struct(">I")


class Spill:
    """Records, in the order in which they were added."""

    def __init__(self, directory: Directory) -> None:
        """The file is made in `directory`."""
        self._directory = directory
        self._fd = -1
        self._stored = 0
        self._tail = bytearray()

    def append(self, record: bytes) -> int:
        """Add a record, and return its position. Raises OSError."""
        if len(self._tail) >= MAX_SPILL_TAIL:
            self._store()
        position = self._stored + len(self._tail)
        size = _SIZE.pack(len(record))
        self._tail += size
        self._tail += record
        self._tail += size
        return position

    def read(self, position: int) -> bytes:
        """Return the record at a position. Raises OSError."""
        (size,) = _SIZE.unpack(self._bytes(position, _SIZE.size))
        return self._bytes(position + _SIZE.size, size)

    def forwards(self) -> Iterator[bytes]:
        """Yield the records, the first one first. Raises OSError."""
        position, end = 0, self._stored + len(self._tail)
        while position < end:
            record = self.read(position)
            yield record
            position += len(record) + 2 * _SIZE.size

    def backwards(self) -> Iterator[bytes]:
        """Yield the records, the last one first. Raises OSError."""
        position = self._stored + len(self._tail)
        while position > 0:
            (size,) = _SIZE.unpack(self._bytes(position - _SIZE.size, _SIZE.size))
            position -= size + 2 * _SIZE.size
            yield self._bytes(position + _SIZE.size, size)

    def close(self) -> None:
        """Free the file. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _store(self) -> None:
        if self._fd < 0:
            self._fd = _unnamed(self._directory)
        view = memoryview(self._tail)
        done = 0
        while done < len(view):
            done += os.pwrite(self._fd, view[done:], self._stored + done)
        self._stored += done
        self._tail = bytearray()

    def _bytes(self, position: int, size: int) -> bytes:
        if position >= self._stored:
            position -= self._stored
            return bytes(self._tail[position : position + size])
        return os.pread(self._fd, size, position)


def _unnamed(directory: Directory) -> int:
    """Open a file without a name. Raises OSError."""
    flag = getattr(os, "O_TMPFILE", 0)
    if flag:
        with contextlib.suppress(OSError):  # not every file system can
            return os.open(".", flag | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory.fd)
    made = create(directory, b"")
    fd = os.dup(made.fd)
    made.remove()
    return fd
