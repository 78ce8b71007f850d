"""A run's output on disk, in a file of bounded size that is used as a ring; and which spools a run gets."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field

from farhand_protocol.limits import KiB
from farhand_server.descriptors import reserve

from ..plan import Plan
from ..snapshots import Get, Put, SnapshotRecord
from .directory import SMALL_RING, SpoolDirectory
from .spool import MAX_OFFSET, MemorySpool, MemorySpoolSnapshot, SpoolMemory

RECORDING_FULL: Final = "its recording is full"
"""The reason for stopping a run that has written more than its recording may hold."""

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The file system, or a quota, has no space for a file to grow. Files that do not grow can still be written."""

MIN_RING: Final = 4096
"""Bytes of the smallest ring to which a spool is reduced if its file cannot grow. A smaller one would keep nothing of
use."""

GIVEN_BACK: Final = 4 << 20
"""Bytes by which a ring shrinks, at most by a quarter, if the file system or a quota has no space left: records of
runs need some. Moving so much within a file takes about 2 ms."""

DISK_FAILURE_SPARE: Final = 512 * KiB
"""Bytes of a terminal's output that are kept in memory once the disk has failed: twice the number that may be in
transit to a client (`limits.TERMINAL_WINDOW`), so that a connected client loses nothing. A full disk must not end
anybody's shell, least of all one in which somebody is freeing disk space."""

GROWTH: Final = 4 * KiB
"""Bytes by which a file grows at least: a block of most file systems."""

NEWEST: Final = 2 * KiB
"""Most bytes of one piece of output that are also kept in memory until the next, so that the echo of a key is not read
from the file: a redrawn line."""

_COPIED: Final = 256 * KiB


class FileSpoolSnapshot(SnapshotRecord):
    """The state of a `FileSpool`, whose bytes stay in its file; `quiet` is the number of seconds since the last output.

    With `whole` the file keeps the first bytes instead of the last ones.
    """

    kind: Literal["file"] = "file"
    path: Path
    limit: int
    start: int
    end: int
    ended: bool
    quiet: float
    failed: bool
    whole: bool = False


SpoolSnapshot: TypeAlias = Annotated[MemorySpoolSnapshot | FileSpoolSnapshot, Field(discriminator="kind")]


class FileSpool:
    """A `Spool` of the last `limit` bytes, in the file `path`, which it creates and deletes.

    Its writer waits only at the offset given to `wait_at`. With `whole` it keeps the first `limit` bytes instead, and
    fails if more arrive. If `space` grants it no more, the ring stays as large as it is by then: readers that come
    later find that more of the output is missing, and how much. If the disk fails, the last `spare` bytes are kept in
    memory from then on, and the file is deleted; if `spare` is 0, the spool fails. After the end of the stream, the
    file is opened for each read and occupies no descriptor.

    Raises OSError if the file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        limit: int,
        *,
        space: SpoolDirectory | None = None,
        whole: bool = False,
        spare: int = 0,
        exist_ok: bool = False,
    ) -> None:
        self.start = 0
        self.end = 0
        self.ended = False
        self.touched = time.monotonic()
        self.on_room: Callable[[], None] | None = None
        self.on_failure: Callable[[str], None] | None = None
        self.listeners: list[Callable[[], None]] = []
        self.path: Final = path
        self.limit = limit
        self.whole: Final = whole
        self.spare: Final = spare
        self._space = space or SpoolDirectory(path.parent)
        self._granted = 0
        """Up to where the file may be written."""
        self._memory: bytearray | None = None
        """The bytes that are kept, from `start` on, after the disk has failed."""
        self._newest = b""
        """What was written last, if it was little, and its offset: usually the next thing to be read."""
        self._newest_at = -1
        self._failed = False
        self._closed = False
        self._wait_at = MAX_OFFSET
        exclusive = 0 if exist_ok else os.O_EXCL
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | exclusive | os.O_CLOEXEC, 0o600)

    def snapshot(self, _put: Put) -> FileSpoolSnapshot:
        """Return the state for `restore`."""
        return FileSpoolSnapshot(
            path=self.path,
            limit=self.limit,
            start=self.start,
            end=self.end,
            ended=self.ended,
            quiet=time.monotonic() - self.touched,
            failed=self._failed,
            whole=self.whole,
        )

    @classmethod
    def restore(cls, snapshot: FileSpoolSnapshot, space: SpoolDirectory | None = None, *, spare: int = 0) -> Self:
        """Return the spool of a snapshot. Raises OSError if the file can neither be opened nor created.

        If somebody has deleted or truncated the file, its content is lost, and the spool continues in a new file.
        """
        snapshot.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool = cls(snapshot.path, snapshot.limit, space=space, whole=snapshot.whole, spare=spare, exist_ok=True)
        spool._granted = os.fstat(spool._fd).st_size
        spool._space.adopt(spool._granted)
        intact = spool._granted >= min(snapshot.end, snapshot.limit)
        spool.start = snapshot.start if intact else snapshot.end
        spool.end, spool.ended, spool._failed = snapshot.end, snapshot.ended, snapshot.failed
        spool.touched = time.monotonic() - snapshot.quiet
        if spool.ended:
            spool._release()
        return spool

    @property
    def full(self) -> bool:
        return self.end >= self._wait_at

    @property
    def size(self) -> int:
        return self.end - self.start

    def append(self, data: bytes) -> None:
        """Add output.

        If the disk fails and `spare` is 0, or if a `whole` spool is full, `on_failure` is called once, and bytes that
        were not written are dropped.
        """
        if self._failed:
            return
        self.touched = time.monotonic()
        begin = self.end
        room = self.limit - begin if self.whole else len(data)
        try:
            self._write(data if len(data) <= room else data[:room])
            failure = None if len(data) <= room else RECORDING_FULL
        except OSError as error:
            failure = f"the output cannot be kept in {self.path}: {error.strerror}"
        if failure is not None:
            self._failed = True
            if self.on_failure is not None:
                self.on_failure(failure)
        self._newest_at = begin if len(data) <= NEWEST and self.end == begin + len(data) else -1
        self._newest = data if self._newest_at >= 0 else b""
        for listener in tuple(self.listeners):
            listener()

    def finish(self) -> None:
        if not self.ended:
            self.ended = True
            self._release()  # a thousand kept runs must not occupy a descriptor each
            for listener in tuple(self.listeners):
                listener()

    def read(self, offset: int, limit: int) -> bytes:
        """Return up to `limit` bytes from `offset` on, fewer if the ring wraps around before that.

        Raises `ValueError` if they are no longer kept, and OSError if the disk fails.
        """
        if not self.start <= offset <= self.end:
            raise ValueError(f"offset {offset} is not kept; {self.start} to {self.end} are")
        if offset == self._newest_at and len(self._newest) <= limit:
            return self._newest
        if self._memory is not None:
            return bytes(self._memory[offset - self.start : offset - self.start + limit])
        at = offset % self.limit
        count = min(limit, self.end - offset, self.limit - at)
        data = self._read(count, at) if count else b""
        if count and not data:
            raise OSError(errno.EIO, "somebody has truncated the file")
        return data

    def wait_at(self, offset: int) -> None:
        """Make the writer wait at `offset` until a later call moves that offset forward."""
        self._wait_at = offset
        if self.on_room is not None and not self.full:
            self.on_room()

    def hold(self, offset: int) -> None:
        """Do nothing: readers do not affect what is kept."""

    def free(self) -> None:
        """Do nothing: readers do not affect what is kept."""

    def close(self) -> None:
        self._release()
        if not self._closed:
            self._closed = True
            self._memory = None
            self._newest, self._newest_at = b"", -1
            self._delete()
            self._give_back(self._granted)
        self.start = self.end

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self, count: int, at: int) -> bytes:
        if self._fd >= 0:
            return os.pread(self._fd, count, at)
        return reserve.spend(self._read_file, count, at)  # the output of a run that is over must not be lost

    def _read_file(self, count: int, at: int) -> bytes:
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
            chunk = left[: self.limit - at]
            missing = at + len(chunk) - self._granted
            if missing > 0:
                small = self._granted < SMALL_RING
                # In steps, because a look at the file system costs as much as everything else about a typed key.
                wanted = min(max(missing, GROWTH), self.limit - self._granted)
                self._granted += self._space.grant(wanted, urgent=self.whole or small, small=small)
                chunk = chunk[: self._granted - at]
                if not chunk:
                    self._stop_growing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
                    continue
            # Move `start` first: no reader may get the old bytes while new ones replace them.
            self.start = max(self.start, self.end + len(chunk) - self.limit)
            try:
                count = os.pwrite(self._fd, chunk, at)
            except OSError as error:
                if error.errno in NO_SPACE and at == self.end:  # the file would grow
                    self._space.refused()
                    self._stop_growing(error, less=min(self.end // 4, GIVEN_BACK))
                elif self.spare:
                    self._leave_disk()
                else:
                    raise
                continue
            self.end += count
            left = left[count:]

    def _stop_growing(self, error: OSError, *, less: int = 0) -> None:
        """Let the ring be no larger than the file is now, and smaller by `less` bytes. This is possible because
        nothing was overwritten yet."""
        if not self.whole and MIN_RING <= self.end <= self.limit:
            kept = self.end - less
            self.start = max(self.start, less)
            for at in range(0, less, _COPIED):  # the end of the file is the beginning of the smaller ring
                os.pwrite(self._fd, os.pread(self._fd, min(_COPIED, less - at), kept + at), at)
            if less:
                os.ftruncate(self._fd, kept)
            self._give_back(self._granted - kept)
            self.limit = kept
        elif self.spare:
            self._leave_disk()
        else:
            raise error

    def _leave_disk(self) -> None:
        """Continue in memory, and delete the file: the disk space is worth more than its content."""
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
        self._delete()
        self._give_back(self._granted)

    def _delete(self) -> None:
        # On a disk that fails or has become read-only the file stays, until the next start of the service.
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _give_back(self, count: int) -> None:
        """Count the file as so much smaller."""
        self._granted -= count
        self._space.give_back(count)

    def _keep(self, memory: bytearray, data: memoryview) -> None:
        memory += data
        del memory[: -self.spare]
        self.end += len(data)
        self.start = self.end - len(memory)


RunSpool: TypeAlias = MemorySpool | FileSpool


def make_spools(plan: Plan, memory: SpoolMemory, directory: SpoolDirectory) -> tuple[RunSpool, RunSpool]:
    """Return new spools for stdout and stderr. Raises OSError if a file cannot be created."""
    if plan.disk_spool is None:
        return MemorySpool(plan.spool, memory), MemorySpool(plan.spool, memory)
    directory.path.mkdir(mode=0o700, exist_ok=True)
    stdout = _new_file(plan, "stdout", plan.disk_spool, directory, spare=_spare(plan))
    if plan.terminal is not None:
        stderr = MemorySpool(plan.spool, memory)
        stderr.finish()  # a terminal has one stream
        return stdout, stderr
    try:
        return stdout, _new_file(plan, "stderr", plan.disk_spool, directory)
    except OSError:
        stdout.close()
        raise


def _new_file(plan: Plan, stream: str, limit: int, directory: SpoolDirectory, *, spare: int = 0) -> FileSpool:
    path = directory.path / f"{plan.id}.{stream}"
    try:
        return FileSpool(path, limit, space=directory, whole=plan.record, spare=spare)
    except FileExistsError:
        path.unlink()  # the id is new, so a start that has failed has left it
        return FileSpool(path, limit, space=directory, whole=plan.record, spare=spare)


def restore_spool(
    snapshot: SpoolSnapshot, plan: Plan, get: Get, memory: SpoolMemory, directory: SpoolDirectory
) -> RunSpool:
    """Return the spool of a snapshot. Raises OSError if its output cannot be read."""
    if isinstance(snapshot, FileSpoolSnapshot):
        return FileSpool.restore(snapshot, directory, spare=_spare(plan))
    return MemorySpool.restore(snapshot, get, memory)


def _spare(plan: Plan) -> int:
    """Return how many bytes are kept in memory once the disk fails: 0 if the run must be recorded."""
    return 0 if plan.terminal is None or plan.record else DISK_FAILURE_SPARE
