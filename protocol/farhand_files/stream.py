"""The frames' way in and out: blocking reads and writes of one byte stream in each direction."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Final, Protocol

from . import wire

BUFFER: Final = 64 * 1024
"""Bytes of small frames that are collected before they are written; `FrameWriter.flush` writes them at once."""


class ByteStream(Protocol):
    """Where frames come from and go to. Both may be used at once, by two threads."""

    def readinto(self, buffer: memoryview) -> int:
        """Wait for bytes, and store up to as many as fit; return how many, 0 at the end. Raises OSError."""

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it, however long that takes. Raises OSError."""


class StreamEnded(Exception):
    """The other side's stream has ended before the transfer was over."""


class Cancelled(Exception):
    """`cancel` was called, of a sender or receiver."""


def read_exactly_one(stream: ByteStream) -> wire.Frame:
    """Read a frame, and no byte of what follows: that belongs to the sender or receiver. Raises `StreamEnded`,
    `wire.WireError`, OSError."""
    size, kind = wire.check_header(_read(stream, wire.TRANSFER_HEADER.size))
    return wire.decode(kind, memoryview(_read(stream, size)))


def _read(stream: ByteStream, size: int) -> bytes:
    buffer = bytearray(size)
    left = memoryview(buffer)
    while left:
        count = stream.readinto(left)
        if not count:
            raise StreamEnded
        left = left[count:]
    return bytes(buffer)


class FrameReader:
    """Reads frames. The data of a `wire.Data` are valid until the next call only."""

    def __init__(self, stream: ByteStream, before_wait: Callable[[], None] = lambda: None) -> None:
        """`before_wait` is called before each wait for bytes: what it sends may be what the other side waits for."""
        self._stream = stream
        self._before_wait = before_wait
        self._buffer = memoryview(bytearray(2 * (wire.MAX_TRANSFER_PAYLOAD + wire.TRANSFER_HEADER.size)))
        self._start = self._end = 0

    def read(self) -> wire.Frame:
        """Return the next frame. Raises `StreamEnded`, `wire.WireError`, OSError."""
        header = wire.TRANSFER_HEADER.size
        if self._end - self._start < header:
            self._fill(header)
        size, kind = wire.check_header(self._buffer, self._start)
        if self._end - self._start < header + size:
            self._fill(header + size)
        begin = self._start + header
        self._start = begin + size
        return wire.decode(kind, self._buffer[begin : self._start])

    def _fill(self, size: int) -> None:
        if self._start == self._end:
            self._start = self._end = (
                0  # small frames stay in the same part of the buffer, and of the processor's cache
            )
        if len(self._buffer) - self._start < size:
            have = self._end - self._start
            self._buffer[:have] = self._buffer[self._start : self._end]
            self._start, self._end = 0, have
        while self._end - self._start < size:
            self._before_wait()
            got = self._stream.readinto(self._buffer[self._end :])
            if not got:
                raise StreamEnded
            self._end += got


class FrameWriter:
    """Writes frames, from any thread. A failure is raised in every later call, too."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._collected: list[bytes] = []
        self._size = 0
        self._failed = False

    def write(self, frame: wire.Frame, *, flush: bool = False) -> None:
        """Write a frame, or collect it until there are enough or `flush` is called. Raises OSError."""
        encoded = wire.encode(frame)
        with self._lock:
            self._collected.append(encoded)
            self._size += len(encoded)
            if flush or self._size >= BUFFER:
                self._write_collected()

    def write_data(self, number: int, offset: int, data: bytes | memoryview) -> None:
        """Write a `wire.Data` without copying the data. Raises OSError."""
        head, data = wire.encode_data(number, offset, data)
        with self._lock:
            self._collected.append(head)
            if len(data) + self._size < BUFFER:
                self._collected.append(bytes(data))
                self._size += len(head) + len(data)
                return
            self._write_collected()
            self._write(data)

    def flush(self) -> None:
        """Write what was collected. Call it before waiting for anything. Raises OSError."""
        with self._lock:
            self._write_collected()

    def _write_collected(self) -> None:
        if self._collected:
            collected, self._collected, self._size = b"".join(self._collected), [], 0
            self._write(collected)

    def _write(self, data: bytes | memoryview) -> None:
        if self._failed:
            raise BrokenPipeError(errno.EPIPE, "writing to the other side has failed before")
        try:
            self._stream.write(data)
        except BaseException:
            self._failed = True  # perhaps in the middle of a frame: what followed would be taken for the rest of it
            raise
