"""A run's output on disk: a file used as a ring, so that its writer need not wait and its size is bounded.

Which spools a run gets.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from farhand_protocol.limits import KiB

from ..plan import Plan
from .spool import MAX_OFFSET, MemorySpool, Spool, SpoolMemory

RECORDING_FULL: Final = "its recording is full"
"""Why a run is stopped of which more would have to be kept than may be."""


class FileSpool:
    """A `Spool` of the last `limit` bytes in the file `path`, which it makes and removes; `whole` ones keep the first
    `limit` bytes, and fail where there is more. Its writer waits nowhere but `wait_at`. Where the disk takes no more,
    the last `spare` bytes are kept in memory from then on, and nothing of its file; without any it fails. From its end
    on it has no descriptor: its file is opened for each read.

    Raises OSError where the file cannot be made.
    """

    def __init__(self, path: Path, limit: int, *, whole: bool = False, spare: int = 0) -> None:
        self.start = 0
        self.end = 0
        self.ended = False
        self.touched = time.monotonic()
        self.on_room: Callable[[], None] | None = None
        self.on_failure: Callable[[str], None] | None = None
        self.listeners: list[Callable[[], None]] = []
        self.path: Final = path
        self.limit: Final = limit
        self.whole: Final = whole
        self.spare: Final = spare
        self._memory: bytearray | None = None
        """What is kept, from `start` on, where the disk has failed."""
        self._failed = False
        self._closed = False
        self._wait_at = MAX_OFFSET
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    @classmethod
    def reopen(
        cls,
        path: Path,
        limit: int,
        *,
        start: int,
        end: int,
        ended: bool,
        failed: bool = False,
        whole: bool = False,
        spare: int = 0,
    ) -> FileSpool:
        """Return a spool that another program has begun, as it stands. Raises OSError.

        Where somebody has removed the file or cut it off, what was kept is gone, and the run goes on in a new one.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(fd).st_size < min(end, limit):
            start = end
        spool = cls.__new__(cls)
        spool.__dict__.update(
            start=start, end=end, ended=ended, touched=time.monotonic(), on_room=None, on_failure=None, listeners=[],
            path=path, limit=limit, whole=whole, spare=spare, _memory=None, _failed=failed, _closed=False,
            _wait_at=MAX_OFFSET, _fd=fd,
        )  # fmt: skip
        if ended:
            spool._release()
        return spool

    @property
    def full(self) -> bool:
        """Spool."""
        return self.end >= self._wait_at

    @property
    def size(self) -> int:
        """Spool."""
        return self.end - self.start

    def append(self, data: bytes) -> None:
        """Spool. That the disk takes no more, or a whole one is full, is told to `on_failure`, once; what it did not
        take is dropped."""
        if self._failed:
            return
        self.touched = time.monotonic()
        room = self.limit - self.end if self.whole else len(data)
        try:
            self._write(data if len(data) <= room else data[:room])
            failure = None if len(data) <= room else RECORDING_FULL
        except OSError as error:
            failure = f"the output cannot be kept in {self.path}: {error.strerror}"
        if failure is not None:
            self._failed = True
            if self.on_failure is not None:
                self.on_failure(failure)
        for listener in tuple(self.listeners):
            listener()

    def finish(self) -> None:
        """Spool."""
        if not self.ended:
            self.ended = True
            self._release()  # of a thousand runs that are over and kept none may cost a descriptor
            for listener in tuple(self.listeners):
                listener()

    def read(self, offset: int, limit: int) -> bytes:
        """Spool. Raises OSError where the disk fails."""
        if not self.start <= offset <= self.end:
            raise ValueError(f"offset {offset} is not kept; {self.start} to {self.end} are")
        if self._memory is not None:
            return bytes(self._memory[offset - self.start : offset - self.start + limit])
        at = offset % self.limit
        count = min(limit, self.end - offset, self.limit - at)
        data = self._read(count, at) if count else b""
        if count and not data:
            raise OSError(errno.EIO, "the file was cut off by somebody else")
        return data

    def wait_at(self, offset: int) -> None:
        """Have the writer wait once it is at `offset`, until that is further on."""
        self._wait_at = offset
        if self.on_room is not None and not self.full:
            self.on_room()

    def hold(self, offset: int) -> None:
        """Spool: nobody can hold this one."""

    def free(self) -> None:
        """Spool."""

    def close(self) -> None:
        """Spool."""
        self._release()
        if not self._closed:
            self._closed = True
            self._memory = None
            self.path.unlink(missing_ok=True)
        self.start = self.end

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self, count: int, at: int) -> bytes:
        if self._fd >= 0:
            return os.pread(self._fd, count, at)
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, count, at)
        finally:
            os.close(fd)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            if self._memory is not None:
                self._keep(self._memory, left)
                return
            at = self.end % self.limit
            piece = left[: self.limit - at]
            # Readers must not be given the old bytes while the new ones take their place.
            self.start = max(self.start, self.end + len(piece) - self.limit)
            try:
                count = os.pwrite(self._fd, piece, at)
            except OSError:
                if not self.spare:
                    raise
                self._leave_disk()
                continue
            self.end += count
            left = left[count:]

    def _leave_disk(self) -> None:
        """Go on in memory; the file's room is worth more than what it has."""
        kept, offset = bytearray(), max(self.start, self.end - self.spare)
        with contextlib.suppress(OSError):
            while offset < self.end:
                data = self.read(offset, self.end - offset)
                kept += data
                offset += len(data)
        if offset < self.end:
            kept.clear()
        self._memory = kept
        self.start = self.end - len(kept)
        self._release()
        self.path.unlink(missing_ok=True)

    def _keep(self, memory: bytearray, data: memoryview) -> None:
        memory += data
        del memory[: -self.spare]
        self.end += len(data)
        self.start = self.end - len(memory)


DISK_FAILURE_SPARE: Final = 512 * KiB
"""Bytes of a terminal's output that are kept in memory where the disk takes no more: twice what may be under way to a
client (`limits.TERMINAL_WINDOW`), so that whoever is connected loses nothing. Nobody's shell shall end because another
has filled the disk, least of all the one in which that is put right."""


def spare(plan: Plan) -> int:
    """Return how many bytes go on in memory where the disk fails; none of what has to be recorded."""
    return 0 if plan.terminal is None or plan.record else DISK_FAILURE_SPARE


def make_spools(plan: Plan, memory: SpoolMemory, directory: Path) -> tuple[Spool, Spool]:
    """Return new spools for stdout and stderr. Raises OSError where those on disk cannot be made."""
    if plan.disk_spool is None:
        return MemorySpool(plan.spool, memory), MemorySpool(plan.spool, memory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stdout = FileSpool(directory / f"{plan.id}.stdout", plan.disk_spool, whole=plan.record, spare=spare(plan))
    if plan.terminal is not None:
        stderr = MemorySpool(plan.spool, memory)
        stderr.finish()  # a terminal has one stream
        return stdout, stderr
    try:
        return stdout, FileSpool(directory / f"{plan.id}.stderr", plan.disk_spool, whole=plan.record)
    except OSError:
        stdout.close()
        raise
