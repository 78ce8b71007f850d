"""The content of one file being received.

It comes in the order of offsets. All of it goes into the digests: what arrives, what the receiver had already, and
holes, so that at the end they are those of what is in the file now. What is not sent stays a hole.

The file may have content already: a temporary file that was left, or a file that is written in place. Then `COPY`
means that this stays, and holes have to be made. Or it is made of an older file (`basis`), from which `COPY` copies;
as long as everything is where it is in the basis, nothing is written, and if that is all, the basis may stay.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from . import wire
from .hashes import Hashes
from .stream import Cancelled

MAX_OFFSET_IN_FILE: Final = (1 << 63) - 1
"""Bytes of a file: off_t."""

_ZEROS: Final = bytes(wire.CHUNK)
_PUNCH_HOLE: Final = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Basis(NamedTuple):
    """What can be copied from: a descriptor and its bytes."""

    fd: int
    size: int


class ArrivingContent:
    """The content of one file that is being received. It closes no descriptor."""

    def __init__(
        self,
        make: Callable[[], int],
        *,
        existing: int = 0,
        basis: Sequence[Basis] = (),
        moving: bool = False,
        in_order: bool = False,
        sha256: bool = False,
        max_size: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """`make` returns the descriptor of the file, once that is needed; `existing` bytes are in it. With `moving`,
        what is copied from `basis` may come from another offset. `in_order`: the file is a pipe or the like. Holes and
        copies may take long, whatever the other side says: they end with `Cancelled` when `cancelled` returns True."""
        self.at = 0
        self.sent = self.kept = 0
        self.fd = -1
        self.hashes = Hashes(sha256)
        self._make = make
        self._existing = existing
        self._basis = basis
        self._basis_size = sum(each.size for each in basis)
        self._moving = moving
        self._in_order = in_order
        self._sha256 = sha256
        self._max_size = max_size
        self._cancelled = cancelled
        self._unwritten = 0
        self._written = 0
        self._restarted = False

    @property
    def unchanged(self) -> bool:
        """Whether all content so far is that of the basis, so that nothing was written."""
        return self.fd < 0 and self._unwritten == self.at and self.at > 0

    @property
    def retained(self) -> bool:
        """Whether all content is what was in the file already, where it was."""
        return not self.sent and 0 < self.at == self.kept == self._existing

    def add_data(self, offset: int, data: bytes | memoryview) -> None:
        """Write content. Raises OSError, `wire.WireError`, `Cancelled`."""
        size = len(data)
        self._advance(offset, size)
        self.hashes.update(data)
        self._write(offset, data)
        self.at = offset + size
        self.sent += size

    def add_hole(self, offset: int, length: int) -> None:
        """Make a hole. Raises OSError, `wire.WireError`, `Cancelled`."""
        self._advance(offset, length)
        self._zeros(offset, length)
        self.at = offset + length

    def add_copy(self, offset: int, length: int, source: int) -> None:
        """Use what was there. Raises OSError, `wire.WireError`, `Cancelled`."""
        self._advance(offset, length)
        limit = self._basis_size if self._basis else self._existing
        if self._restarted or source + length > limit or (source != offset and not self._moving):
            raise wire.WireError(f"a Copy of {length} bytes at {source} of {limit} bytes, to {offset}")
        self.kept += length
        in_place = self._basis and source == offset and self.fd < 0 and self._unwritten == offset
        while length > 0:
            self._check()
            data = self._old(source, min(length, wire.CHUNK))
            self.hashes.update(data)
            if in_place:
                self._unwritten += len(data)
            elif self._basis:
                self._write(offset, data)
            offset += len(data)
            source += len(data)
            length -= len(data)
        self.at = offset

    def restart(self) -> None:
        """Begin again: the source has changed. Raises OSError."""
        if self._in_order and self.at:
            raise OSError(errno.EBUSY, "this has changed while it was being read, and its beginning was passed on")
        if self.fd >= 0 and self._existing == 0:
            os.ftruncate(self.fd, 0)
        self._restarted = True
        self._basis, self._basis_size, self._unwritten = (), 0, 0
        self.at = self.kept = 0  # what was sent, was sent
        self.hashes = Hashes(self._sha256)

    def end(self, size: int, *, resize: bool = True) -> None:
        """All content has arrived: give the file its size. Raises OSError, `wire.WireError`, `Cancelled`."""
        if size < self.at:
            raise wire.WireError(f"a FileEnd at {size} after {self.at} bytes")
        if size > self.at:
            self.add_hole(self.at, size - self.at)
        if self.unchanged and size == self._basis_size:
            return
        fd = self.open()
        if resize and not self._in_order and (self._existing or self._restarted or self._written != size):
            os.ftruncate(fd, size)

    def open(self) -> int:
        """Return the descriptor of the file, which is made if need be. Raises OSError, `Cancelled`."""
        if self.fd < 0:
            self.fd = self._make()
            unwritten, self._unwritten = self._unwritten, 0
            offset = 0
            while offset < unwritten:
                self._check()
                data = self._old(offset, min(unwritten - offset, wire.CHUNK))
                _write_all(self.fd, data, offset)
                offset += len(data)
        return self.fd

    def _advance(self, offset: int, length: int) -> None:
        """Check where content is to be, and fill what was left out before it."""
        if offset < self.at or length <= 0 or offset + length > MAX_OFFSET_IN_FILE:
            raise wire.WireError(f"{length} bytes of content at {offset} after {self.at}")
        if self._max_size is not None and offset + length > self._max_size:
            raise OSError(errno.EFBIG, f"this is larger than the {self._max_size} bytes that are taken")
        if offset > self.at:
            self._zeros(self.at, offset - self.at)

    def _write(self, offset: int, data: bytes | memoryview) -> None:
        fd = self.fd if self.fd >= 0 else self.open()
        if self._in_order:
            _write_all(fd, data, None)
        else:
            done = os.pwrite(fd, data, offset)
            self._written = offset + len(data)
            if done < len(data):
                _write_all(fd, memoryview(data)[done:], offset + done)

    def _check(self) -> None:
        if self._cancelled():
            raise Cancelled

    def _zeros(self, offset: int, length: int) -> None:
        fd = self.open()
        end = offset + length
        if not self._in_order:
            if offset < self._existing:
                _clear(fd, offset, min(end, self._existing) - offset)
            if end > self._existing:
                _extend(fd, end)
        while offset < end:
            self._check()
            size = min(end - offset, wire.CHUNK)
            if self._in_order:
                _write_all(fd, _ZEROS[:size], None)
            self.hashes.add_zeros(size)
            offset += size

    def _old(self, source: int, length: int) -> bytes:
        """Return some of what was there, at least one byte and at most `length`."""
        if not self._basis:
            data = os.pread(self.open(), length, source)
        else:
            for basis in self._basis:
                if source < basis.size:
                    data = os.pread(basis.fd, min(length, basis.size - source), source)
                    break
                source -= basis.size
        if not data:
            raise OSError(errno.ESTALE, "the file that was there has become shorter meanwhile")
        return data


def _extend(fd: int, size: int) -> None:
    """Let a file be at least so large, so that one that cannot be is found out at once."""
    if os.fstat(fd).st_size < size:
        os.ftruncate(fd, size)


def _clear(fd: int, offset: int, length: int) -> None:
    """Make a hole where there is content, or where there cannot be one, zeros."""
    if sys.platform == "linux":
        at, size = ctypes.c_longlong(offset), ctypes.c_longlong(length)
        if _libc.fallocate64(fd, _PUNCH_HOLE, at, size) == 0:
            return
    end = offset + length
    while offset < end:
        size_now = min(end - offset, wire.CHUNK)
        _write_all(fd, _ZEROS[:size_now], offset)
        offset += size_now


def _write_all(fd: int, data: bytes | memoryview, offset: int | None) -> None:
    view = memoryview(data)
    while view:
        done = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        if offset is not None:
            offset += done
        view = view[done:]
