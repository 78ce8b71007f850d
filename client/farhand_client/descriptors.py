"""Writes to file descriptors without blocking the event loop: a pipe's reader may stop reading, and a terminal may be
stopped by Ctrl-S."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import select
import stat
import threading
from collections.abc import Sequence
from typing import Final, Protocol

from farhand_protocol.sentences import unforeseen_sentence

WRITEV_BUFFERS: Final = 512
"""Buffers passed to one writev(2), which accepts 1024 (IOV_MAX)."""


class DescriptorWriter(Protocol):
    """Writes to one file descriptor."""

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Write all of `chunks`. Raises OSError. After a cancellation they may still be written."""

    def close(self) -> None:
        """Close the descriptor, after what is still being written. For a descriptor that only this writer uses."""


def descriptor_writer(fd: int) -> DescriptorWriter:
    """Return a writer for `fd`. Only writes to a regular file or /dev/null, which never block, happen in the loop.

    Raises OSError if there is no thread for another file.
    """
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) or (
        stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116  # as fstat
    ):
        return _DirectWriter(fd)
    return _ThreadedWriter(fd)


class _DirectWriter:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, chunks: Sequence[bytes]) -> None:
        _write_all(self._fd, chunks)

    def close(self) -> None:
        os.close(self._fd)


class _ThreadedWriter:
    """Writes in a thread of its own, so that only that thread waits for a slow reader.

    The thread is a daemon: it may be stuck for ever, and the process can still exit.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[Sequence[bytes], asyncio.Future[None]] | None] = queue.SimpleQueue()
        try:
            threading.Thread(target=self._work, name=f"writer of {fd}", daemon=True).start()
        except (RuntimeError, MemoryError) as error:  # now, not once there is output that nobody can write
            raise OSError(errno.EAGAIN, unforeseen_sentence(error)) from None

    async def write(self, chunks: Sequence[bytes]) -> None:
        written: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((chunks, written))
        await written

    def close(self) -> None:
        self._queue.put(None)

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            chunks, written = entry
            error: Exception | None = None
            try:
                _write_all(self._fd, chunks)
            except Exception as caught:  # noqa: BLE001  # any, or whoever waits would wait for ever
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_settle, written, error)
        os.close(self._fd)


def _settle(written: asyncio.Future[None], error: Exception | None) -> None:
    if not written.done():
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)


def _write_all(fd: int, chunks: Sequence[bytes]) -> None:
    left: list[bytes | memoryview] = list(chunks)
    while left:
        try:
            count = os.writev(fd, left[:WRITEV_BUFFERS])
        except BlockingIOError:  # another process that shares the file has made it non-blocking
            select.select([], [fd], [])
            continue
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if count:
            left[0] = memoryview(left[0])[count:]
