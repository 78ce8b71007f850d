"""Our ends of a program's pipes, or of its terminal: non-blocking, read in pieces, written as far as the program takes
it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from typing import Final

from ..output.spool import Spool

PIPE_READ_SIZE: Final = 64 << 10
"""Bytes read at once: measured best; larger reads pay for their allocation."""

READS_PER_TURN: Final = 3
"""Reads before other work gets its turn of the loop: 192 KiB, about 100 µs, and just short of filling a spool of the
default size, which would have the pipe taken out of the loop and put back each time."""

PIPE_SIZE: Final = 1 << 20
"""Capacity in bytes of a pipe whose writer fills it (F_SETPIPE_SZ, fcntl(2)): fewer switches between the two."""

REFILL_PAUSE: Final = 0.001
"""Seconds in which a writer that has just filled a whole read may fill the next one: else one that writes small pieces
fast (head(1): 4 KiB) wakes everybody up to the client for each. `PIPE_SIZE` holds what comes meanwhile up to 1 GB/s."""


ECHO_SIZE: Final = 256
"""Bytes behind which a terminal is not asked for more in the same turn: they are the echo of a key, and nothing of a
flood, which comes in pieces of 4 KiB."""


class PipeReader:
    """Moves what comes out of a pipe into a spool until end of file."""

    def __init__(self, fd: int, spool: Spool, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._spool = spool
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
        """The pipe; -1 once it is closed."""
        return self._fd

    def close(self) -> None:
        """Stop reading, whether or not the end has come."""
        if self._fd >= 0:
            self._suspend()
            self._let_go()
            self._fd = -1
            self._spool.on_room = None
            self._spool.finish()
            self._ended()

    def drain(self) -> bool:
        """Read what is in the pipe now, beyond the spool's limit if need be; True where the end has come.

        For a run whose leader is gone: no more than a pipe's capacity and the end behind it is looked for, whoever may
        go on writing.
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
            self._spool.append(data)
        return self._fd < 0

    def _read(self) -> bytes:
        """What there is, about `PIPE_READ_SIZE` of it; nothing at the end. Raises BlockingIOError."""
        try:
            return os.read(self._fd, PIPE_READ_SIZE)
        except BlockingIOError:
            raise
        except OSError:
            return b""

    def _let_go(self) -> None:
        os.close(self._fd)

    def _suspend(self) -> None:
        self._loop.remove_reader(self._fd)
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None

    def _room(self) -> None:
        if self._held_up:
            self._held_up = False
            self._spool.touched = time.monotonic()
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
            self._spool.append(data)
            if self._spool.full:
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
            # Refused beyond the account's share of pipe memory (pipe(7)); the pipe works as it is, too.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)


class TerminalReader(PipeReader):
    """The same for a terminal, whose end is EIO (pty(7)), and which stays open.

    However much there is, a terminal gives 4 KiB at a time: as much as comes in one turn is read, and kept as one. What
    comes first is never waited behind: a key's echo is awaited by somebody who types.
    """

    def _read(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while size < PIPE_READ_SIZE:
            try:
                piece = os.read(self._fd, PIPE_READ_SIZE)
            except BlockingIOError:
                if not pieces:
                    raise
                break
            except OSError:  # where something came before, the next read finds the end again
                break
            pieces.append(piece)
            size += len(piece)
            if len(piece) <= ECHO_SIZE:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _let_go(self) -> None:
        """It is closed by whoever has opened it."""

    def _emptied(self) -> None:
        """Its writer is woken by each read, and fills it while we do other things."""

    def _enlarge(self) -> None:
        """A terminal's size is fixed."""
