"""Copies a program's output from its pipes or its terminal into spools, in large reads."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from typing import Final

from ..output.spool import Spool
from .pipes import PIPE_SIZE, enlarge_pipe

PIPE_READ_SIZE: Final = 64 << 10
"""Bytes of one read: the best size measured. Larger reads cost more for their allocation."""

READS_PER_TURN: Final = 3
"""Reads before other work gets its turn in the event loop: 192 KiB, about 100 µs. That is just below the size of a
default spool: filling the spool would remove the pipe from the event loop and add it again each time."""

REFILL_PAUSE: Final = 0.001
"""Seconds that a writer that has just filled a whole read gets to fill the next one. Otherwise a program that writes
small chunks fast (head(1): 4 KiB) would wake the service, the edge and the client for each chunk. `PIPE_SIZE` holds the
output written meanwhile, up to 1 GB/s."""

ECHO_SIZE: Final = 256
"""Size in bytes up to which a read from a terminal is not followed by another in the same turn: it is the echo of a key
rather than part of bulk output, which arrives in chunks of 4 KiB."""


class PipeReader:
    """Copies the output of a pipe into a spool until end of file. Then, or on `close`, it calls `ended`."""

    def __init__(self, fd: int, spool: Spool, ended: Callable[[], None]) -> None:
        self.spool: Final = spool
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._ended = ended
        self._enlarged = False
        self._filling = False
        self._held_up = spool.full
        self._pausing: asyncio.TimerHandle | None = None
        os.set_blocking(fd, False)
        spool.on_room = self._room
        if not self._held_up:
            self._loop.add_reader(fd, self._readable)

    def fileno(self) -> int:
        """Return the descriptor, or -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Stop reading and end the spool, whether or not end of file has been reached."""
        if self._fd >= 0:
            self._suspend()
            self._close_fd()
            self._fd = -1
            self.spool.on_room = None
            self.spool.finish()
            self._ended()

    def poll(self) -> None:
        """Read what is available now, as if the event loop had reported it."""
        if self._fd >= 0 and not self._held_up:
            self._readable()

    def drain(self) -> bool:
        """Read what the pipe holds now, even beyond the spool's limit. Return whether end of file was reached.

        Used for a run whose leader has ended. Reads no more than a pipe's capacity and the end of file after it, even
        if other processes continue to write.
        """
        left = PIPE_SIZE
        while self._fd >= 0 and left >= 0:
            try:
                data = self._read()
            except BlockingIOError:
                break
            if not data:
                self.close()
                break
            left -= len(data)
            self.spool.append(data)
        return self._fd < 0

    def _read(self) -> bytes:
        """Return available bytes, about `PIPE_READ_SIZE`; empty at the end. Raises BlockingIOError."""
        try:
            return os.read(self._fd, PIPE_READ_SIZE)
        except BlockingIOError:
            raise
        except OSError as error:
            self._fail(error)
            return b""

    def _fail(self, error: OSError) -> None:
        """Report that output is lost, which must not look like its end."""
        if self.spool.on_failure is not None:
            self.spool.on_failure(f"its output cannot be read: {error.strerror}")

    def _close_fd(self) -> None:
        os.close(self._fd)

    def _suspend(self) -> None:
        self._loop.remove_reader(self._fd)
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None

    def _room(self) -> None:
        if self._held_up:
            self._held_up = False
            self.spool.touched = time.monotonic()
            self._resume()

    def _resume(self) -> None:
        self._suspend()
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                data = self._read()
            except BlockingIOError:
                self._emptied()
                return
            if not data:
                self.close()
                return
            self.spool.append(data)
            if self.spool.full:
                self._held_up = True
                self._suspend()
                return
            if len(data) < PIPE_READ_SIZE:
                self._emptied()
                return
            self._filling = True
            self._enlarge()

    def _emptied(self) -> None:
        if self._filling:
            self._filling = False
            self._suspend()
            self._pausing = self._loop.call_later(REFILL_PAUSE, self._resume)

    def _enlarge(self) -> None:
        if not self._enlarged:
            self._enlarged = True
            enlarge_pipe(self._fd, PIPE_SIZE)


class TerminalReader(PipeReader):
    """The same for a terminal. Its end is reported as EIO (pty(7)), and this object does not close it.

    A terminal returns at most 4 KiB at a time, so everything that arrives within one turn is read and appended as one
    chunk. Small output, however, is appended at once: it may be the echo of a key, for which somebody typing is
    waiting.
    """

    def _read(self) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while size < PIPE_READ_SIZE:
            try:
                chunk = os.read(self._fd, PIPE_READ_SIZE - size)
            except BlockingIOError:
                if not chunks:
                    raise
                break
            except OSError as error:  # if bytes were read before this, the next read meets it again
                if error.errno != errno.EIO and not chunks:
                    self._fail(error)
                break
            chunks.append(chunk)
            size += len(chunk)
            if len(chunk) <= ECHO_SIZE:
                break
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _close_fd(self) -> None:
        """Do nothing: the object that opened the terminal closes it."""

    def _emptied(self) -> None:
        """Do nothing: each read wakes the writer, which fills the terminal while the loop does other work."""

    def _enlarge(self) -> None:
        """Do nothing: the capacity of a terminal is fixed."""
