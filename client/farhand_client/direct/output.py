"""Writes to this process's stdout and stderr without waiting, whoever shares them.

A pipe or terminal is often shared with other processes, for which it must stay blocking: O_NONBLOCK belongs to the open
file, not to the descriptor. So it is opened once more through /proc (proc(5), fd), which gives an open file of our own.
Where that is impossible, such as for another user's pipe, a thread writes.
"""

from __future__ import annotations

import _thread
import errno
import os
import select
import stat
from collections import deque
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    Chunk = bytes | memoryview

WRITEV_CHUNKS: Final = 512
"""Chunks passed to one writev(2), which accepts 1024 (IOV_MAX)."""


class OutputWriter:
    """Writes to the descriptor `fd`. Poll `wait_fd` for `wait_events` while there is something `pending`.

    Raises OSError if no writer can be made, and from `write` and `go_on` if writing fails.
    """

    def __init__(self, fd: int) -> None:
        self._chunks: deque[Chunk] = deque()  # of bytes of their own
        self._sink: _Waiting | _Ready | _Thread
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) or _is_null(status):
            self._sink = _Waiting(fd)
        elif (ready := _reopened(fd)) is not None:
            self._sink = _Ready(*ready)
        else:
            self._sink = _Thread(fd)
        self.wait_fd: Final = self._sink.wait_fd
        self.wait_events: Final = self._sink.wait_events

    @property
    def pending(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._chunks)

    def write(self, chunks: Sequence[Chunk]) -> int:
        """Write what can be written now and keep the rest; return how many bytes were written."""
        if self._chunks:
            self._chunks.extend(map(bytes, chunks))
            return 0
        left = deque(chunks)
        written = self._write(left)
        self._chunks.extend(map(bytes, left))
        return written

    def go_on(self) -> int:
        """Write more of what is pending; return how many bytes were written."""
        return self._write(self._chunks)

    def unwritten(self) -> tuple[int, list[Chunk]]:
        """Return how many bytes more have been written meanwhile, and what is still pending, and forget it."""
        chunks: deque[Chunk] = deque(self._chunks)
        self._chunks.clear()
        written = self._sink.settle()
        _drop(chunks, written)
        return written, list(chunks)

    def close(self) -> None:
        """Close what was opened here."""
        self._sink.close()

    def _write(self, left: deque[Chunk]) -> int:
        """Write and remove what can be written now; return how many bytes that were."""
        written = 0
        while left:
            count = self._sink.write(left)
            if not count:
                break
            written += count
            _drop(left, count)
        return written


def _is_null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev


def _reopened(fd: int) -> tuple[int, bool] | None:
    """Return a descriptor that never waits for what `fd` writes to, and whether it is a new one; None if there is
    none."""
    if not os.get_blocking(fd):
        return fd, False
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), True
    except OSError:
        return None


class _Waiting:
    """A file for which no write ever waits long."""

    wait_fd = -1
    wait_events = 0

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, chunks: deque[Chunk]) -> int:
        return os.writev(self._fd, list(islice(chunks, WRITEV_CHUNKS)))

    def settle(self) -> int:
        return 0

    def close(self) -> None:
        pass


class _Ready:
    """A descriptor that is not blocking."""

    wait_events = select.POLLOUT

    def __init__(self, fd: int, owned: bool) -> None:
        self.wait_fd = fd
        self._owned = owned

    def write(self, chunks: deque[Chunk]) -> int:
        try:
            return os.writev(self.wait_fd, list(islice(chunks, WRITEV_CHUNKS)))
        except BlockingIOError:
            return 0

    def settle(self) -> int:
        return 0

    def close(self) -> None:
        if self._owned:
            os.close(self.wait_fd)


class _Thread:
    """A thread that waits for a slow reader, which may be for ever. It writes one batch at a time."""

    wait_events = select.POLLIN

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.wait_fd, self._done = os.pipe()
        self._batch: list[Chunk] | None = None
        self._closing = False
        self._handed = _thread.allocate_lock()
        self._handed.acquire()
        self._result: int | OSError = 0
        try:
            _thread.start_new_thread(self._work, ())
        except RuntimeError:
            os.close(self.wait_fd)
            os.close(self._done)
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None

    def write(self, chunks: deque[Chunk]) -> int:
        """Hand a batch to the thread; at the next call, with the same bytes at the front, return what became of it."""
        if self._batch is None:
            self._batch = [bytes(chunk) for chunk in islice(chunks, WRITEV_CHUNKS)]
            self._handed.release()
            return 0
        os.read(self.wait_fd, 1)
        self._batch = None
        if isinstance(self._result, OSError):
            raise self._result
        return self._result

    def settle(self) -> int:
        """Wait until the batch is written, and return its size: nobody else may write before that."""
        return self.write(deque()) if self._batch is not None else 0

    def close(self) -> None:
        """Let the thread end, after what it is writing."""
        self._closing = True
        if self._batch is None:
            self._handed.release()

    def _work(self) -> None:
        while True:
            self._handed.acquire()
            if self._batch is None:
                break
            left: deque[Chunk] = deque(self._batch)
            written = 0
            try:
                while left:  # a signal may interrupt a call
                    count = os.writev(self._fd, list(left))
                    written += count
                    _drop(left, count)
                self._result = written
            except OSError as error:
                self._result = error
            os.write(self._done, b"\0")
            if self._closing:
                break
        os.close(self._done)
        os.close(self.wait_fd)


def _drop(chunks: deque[Chunk], count: int) -> None:
    """Remove the first `count` bytes."""
    while chunks and count >= len(chunks[0]):
        count -= len(chunks.popleft())
    if count:
        chunks[0] = memoryview(chunks[0])[count:]
