"""Writes output to the file descriptors of this process without ever holding up the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import stat
import threading
from collections.abc import Sequence
from typing import Final, Protocol

BUFFERS: Final = 512
"""Buffers given to one writev(2), which takes 1024 (IOV_MAX)."""


class Writer(Protocol):
    """One file descriptor."""

    async def write(self, chunks: Sequence[bytes]) -> None:
        """Return once all is written. Raises OSError. After a cancellation what was given may still be written."""


def writer(fd: int) -> Writer:
    """Return the writer that suits `fd`: only a regular file and /dev/null never make one wait for somebody."""
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) or (
        stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116  # as fstat
    ):
        return _Direct(fd)
    return _Threaded(fd)


class _Direct:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, chunks: Sequence[bytes]) -> None:
        _write_all(self._fd, chunks)


class _Threaded:
    """A pipe's reader may stop and a terminal be held (Ctrl-S): then only a thread of its own waits.

    The thread is a daemon: it may be stuck for ever, and the process can still end.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Sequence[bytes], asyncio.Future[None]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def write(self, chunks: Sequence[bytes]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"writer of {self._fd}", daemon=True)
            self._thread.start()
        written: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((chunks, written))
        await written

    def _work(self) -> None:
        while True:
            chunks, written = self._jobs.get()
            error: OSError | None = None
            try:
                _write_all(self._fd, chunks)
            except OSError as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(_settle, written, error)


def _settle(written: asyncio.Future[None], error: OSError | None) -> None:
    if not written.done():
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)


def _write_all(fd: int, chunks: Sequence[bytes]) -> None:
    left: list[bytes | memoryview] = list(chunks)
    while left:
        try:
            count = os.writev(fd, left[:BUFFERS])
        except BlockingIOError:  # somebody who shares the file has made it non-blocking
            select.select([], [fd], [])
            continue
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if count:
            left[0] = memoryview(left[0])[count:]
