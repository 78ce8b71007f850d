"""The content of one source file, and whether it has changed meanwhile.

Content is read in chunks into buffers that are used again, so that memory does not depend on sizes. All of it goes into
the digests, also what the other side has already, and holes. A file is compared with what it was when it was opened:
what is sent is its state at that time, or else is not used.
"""

from __future__ import annotations

import errno
import os
import queue
import select
import stat
import threading
import time
from collections.abc import Generator, Iterator
from typing import Final, NamedTuple

from blake3 import blake3

from . import delta, wire
from .hashes import Hashes

BUFFERS: Final = 3
"""Chunks in memory while a file is read ahead: one being read, one waiting, and one being written."""

SMALL: Final = 256 * 1024
"""Bytes of a file that is read with one call. It takes less time than a thread to read it ahead."""

AHEAD: Final = 4 << 20
"""Bytes of a file from which on it is read ahead by a thread, which takes some 100 µs to start."""

RECENT: Final = 20_000_000
"""Nanoseconds after a change in which another one may leave the time of modification as it is: up to Linux 6.12, file
times advance in steps of up to 10 ms."""

MAX_PART: Final = 64 * wire.CHUNK
"""Bytes in one hole, or in one part that the other side has, so that progress is reported and a transfer can be
cancelled while they are read or hashed."""

_ZEROS: Final = bytes(wire.CHUNK)


def read_small(fd: int, size: int) -> tuple[bytes, os.stat_result] | None:
    """Return the content of a small regular file, and what is known of it. Return None if it is not of this size, or
    may be changing: `Content` finds out. Raises OSError."""
    opened = time.time_ns()
    before = os.fstat(fd)
    if before.st_size != size or not stat.S_ISREG(before.st_mode):
        return None
    data = os.read(fd, size + 1)
    if len(data) != size or -RECENT < opened - before.st_mtime_ns < RECENT or not _is_untouched(before, os.fstat(fd)):
        return None
    return data, before


class Changed(Exception):
    """The file is not what it was when it was opened."""


class Part(NamedTuple):
    """A part of the content. Its data are valid until the next part is taken; if there are none, it is a hole, or what
    the other side has at `source`."""

    offset: int
    length: int
    data: memoryview | None = None
    source: int = -1


class Content:
    """An open source file. Close it, or use it as a context manager."""

    def __init__(self, fd: int, *, known_size: bool = True, pipe: bool = False) -> None:
        """Takes the descriptor, except that of a `pipe`. Raises OSError: the file is no regular one any more."""
        self._fd = fd
        self._pipe = pipe
        self._opened = time.time_ns()
        try:
            self._before = os.fstat(fd)
            if not pipe and not stat.S_ISREG(self._before.st_mode):
                raise OSError(errno.ESTALE, "this was replaced, and is no regular file any more")
        except BaseException:
            self.close()
            raise
        self.known_size = known_size and not pipe
        self.size = self._before.st_size if self.known_size else -1
        self.mtime = time.time_ns() if pipe else wire.nearest_time(self._before.st_mtime_ns)
        self.mode = self._before.st_mode & 0o7777
        self.hashes = Hashes(False)
        self._buffers = [bytearray(wire.CHUNK)]
        self._next = 0
        self._at = 0

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0 and not self._pipe:
            os.close(fd)

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def parts(
        self, basis: int = wire.NOTHING, have: bytes = b"", *, announced: int = -1, sha256: bool = False
    ) -> Generator[Part, None, None]:
        """Yield the content, in the order of offsets, in parts of up to `wire.CHUNK` bytes of data. `basis` and `have`
        are those of `wire.Want`, `announced` is the size in the entry. Raises OSError, and `Changed`: the file has
        become shorter."""
        self.hashes = Hashes(sha256)
        if not self.known_size:
            return self._unknown()
        if self.size == 0:
            return self._empty()
        if basis == wire.PARTIAL:
            found = self._after(have)
        elif basis == wire.BASIS and have and delta.available():
            found = self._against(have, announced)
        else:
            found = self._stored(0)
        if self.size < AHEAD:
            return found
        self._buffers += [bytearray(wire.CHUNK) for _ in range(BUFFERS - len(self._buffers))]
        return read_ahead(found)

    def settle(self) -> bool:
        """Return True if the file is what it was when it was opened, and False if only its end is new. Raises
        `Changed`, OSError.

        If there is any sign of a change, the content is read again: it has to be the same.
        """
        if not self.known_size:
            return True
        now = os.fstat(self._fd)
        if _is_untouched(self._before, now) and not -RECENT < self._opened - now.st_mtime_ns < RECENT:
            return True
        if now.st_size < self.size or self._digest_again() != self.hashes.blake3():
            raise Changed
        if now.st_size > self.size:
            return False
        if not _same(now, os.fstat(self._fd)):
            raise Changed
        self.mtime = wire.nearest_time(now.st_mtime_ns)
        return True

    def _digest_again(self) -> bytes:
        hashes = Hashes(False)
        at = 0
        while at < self.size:
            view = self._read(at, min(self.size, at + wire.CHUNK))
            hashes.update(view)
            at += len(view)
        return hashes.blake3()

    def _given(self, part: Part) -> Part:
        """Use another buffer from now on: this part's data are in the present one."""
        self._next = (self._next + 1) % len(self._buffers)
        return part

    def _read(self, start: int, end: int) -> memoryview:
        """Return the content from `start` to `end`, all of it. Raises `Changed` if there is less."""
        if self._at != start:
            os.lseek(self._fd, start, os.SEEK_SET)
        view = memoryview(self._buffers[self._next])[: end - start]
        done = 0
        while done < len(view):
            got = os.readv(self._fd, [view[done:]])
            if not got:
                raise Changed
            done += got
        self._at = end
        return view

    def _empty(self) -> Generator[Part, None, None]:
        if os.read(self._fd, 1):
            if os.fstat(self._fd).st_size:
                raise Changed
            os.lseek(self._fd, 0, os.SEEK_SET)
            self.known_size = False
            yield from self._unknown()

    def _unknown(self) -> Generator[Part, None, None]:
        """Yield what comes out of a pipe as soon as it comes, or a file of unknown length."""
        at = 0
        buffer = self._buffers[self._next]
        while got := self._readv(buffer):
            view = memoryview(buffer)[:got]
            self.hashes.update(view)
            yield Part(at, got, view)
            at += got
        self.size = at
        if self._pipe:
            self.mtime = time.time_ns()

    def _readv(self, buffer: bytearray) -> int:
        """Read what there is, at least one byte; 0 at the end."""
        while True:
            try:
                return os.readv(self._fd, [buffer])
            except BlockingIOError:  # a pipe that does not block, and another process has read what was there
                if not self._pipe:
                    raise
                waiting = select.poll()
                waiting.register(self._fd, select.POLLIN)
                waiting.poll()

    def _stored(self, start: int) -> Generator[Part, None, None]:
        """Yield what is stored from `start` on, and holes."""
        for offset, end, stored in self._segments(start):
            while offset < end and not stored:
                until = min(end, offset + MAX_PART)
                self.hashes.add_zeros(until - offset)
                yield Part(offset, until - offset)
                offset = until
            while offset < end:
                until = min(end, (offset // wire.CHUNK + 1) * wire.CHUNK)
                yield self._data(offset, self._read(offset, until))
                offset = until

    def _data(self, offset: int, view: memoryview) -> Part:
        self.hashes.update(view)
        return Part(offset, len(view)) if _is_zero(view) else self._given(Part(offset, len(view), view))

    def _segments(self, start: int) -> Iterator[tuple[int, int, bool]]:
        """Yield beginning and end of what is stored (True) and of holes."""
        if self._before.st_blocks * 512 >= self.size or not hasattr(os, "SEEK_DATA"):
            if start < self.size:
                yield start, self.size, True
            return
        while start < self.size:
            try:
                stored = min(os.lseek(self._fd, start, os.SEEK_DATA), self.size)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                stored = self.size  # nothing more is stored
            self._at = -1
            if stored > start:
                yield start, stored, False
            if stored < self.size:
                end = min(os.lseek(self._fd, stored, os.SEEK_HOLE), self.size)
                self._at = -1
                yield stored, end, True
                start = end
            else:
                start = stored

    def _after(self, have: bytes) -> Generator[Part, None, None]:
        """Yield what differs from the other side's partial file, and what follows it."""
        same = offset = 0
        for length, digest in wire.unpack_chunks(have):
            until = min(self.size, offset + wire.CHUNK)
            if offset >= until:
                break
            view = self._read(offset, until)
            if length <= len(view) and blake3(view[:length]).digest() == digest:
                self.hashes.update(view)
                if length < len(view) or offset + length - same >= MAX_PART:
                    yield Part(same, offset + length - same, None, same)
                    same = until
                if length < len(view):
                    yield self._given(Part(offset + length, len(view) - length, view[length:]))
            else:
                if same < offset:
                    yield Part(same, offset - same, None, same)
                yield self._data(offset, view)
                same = until
            offset = until
        if same < offset:
            yield Part(same, offset - same, None, same)
        yield from self._stored(offset)

    def _against(self, have: bytes, announced: int) -> Generator[Part, None, None]:
        """Yield what the other side does not have in its older file, and where it has the rest."""
        start = filled = at = 0
        chunks = delta.chunks_of(_Hashed(self._fd, self.hashes), self.size, announced)
        for offset, length, data, source in delta.differences(chunks, have):
            zeros = data is not None and _is_zero(data)
            if filled and (data is None or zeros or filled + length > wire.CHUNK):
                yield self._given(Part(start, filled, memoryview(self._buffers[self._next])[:filled]))
                filled = 0
            if data is None or zeros:
                yield Part(offset, length, None, source)
            else:
                start = start if filled else offset
                self._buffers[self._next][filled : filled + length] = data
                filled += length
            at = offset + length
        if filled:
            yield self._given(Part(start, filled, memoryview(self._buffers[self._next])[:filled]))
        if at < self.size:
            raise Changed
        self._at = -1


class _Hashed(NamedTuple):
    """A `delta.FileSource` whose content goes into digests."""

    fd: int
    hashes: Hashes

    def readinto(self, buffer: memoryview, /) -> int:
        got = os.readv(self.fd, [buffer])
        self.hashes.update(buffer[:got])
        return got


def read_ahead(parts: Iterator[Part]) -> Generator[Part, None, None]:
    """Yield the parts while a thread makes the next ones. Closing the generator ends the thread."""
    made: queue.Queue[Part | BaseException | None] = queue.Queue(BUFFERS - 2)
    stopped = threading.Event()

    def make() -> None:
        last: BaseException | None = None
        try:
            for part in parts:
                if stopped.is_set():
                    break
                made.put(part)
        except BaseException as error:  # noqa: BLE001 - raised where the parts are taken
            last = error
        made.put(last)

    threading.Thread(target=make, name="farhand-read-ahead", daemon=True).start()
    part: Part | BaseException | None = Part(0, 0)
    try:
        while isinstance(part := made.get(), Part):
            yield part
    finally:
        stopped.set()
        while isinstance(part, Part):
            part = made.get()
    if part is not None:
        raise part


def _is_zero(view: memoryview) -> bool:
    size = len(view)
    return not view[0] and not view[size - 1] and not view[size // 2] and view.tobytes() == _ZEROS[:size]


def _is_untouched(before: os.stat_result, now: os.stat_result) -> bool:
    """Return whether there is no sign of a change: not even one after which the time of modification was set back, as
    `cp -p` and tar do."""
    return _same(before, now) and before.st_ctime_ns == now.st_ctime_ns


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_size, one.st_mtime_ns, one.st_ino) == (other.st_size, other.st_mtime_ns, other.st_ino)
