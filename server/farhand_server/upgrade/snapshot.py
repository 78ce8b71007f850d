"""The snapshot that a core passes to the program that replaces it, in a file without a name (memfd_create(2)).

The file consists of one line with a magic word, the version of the format and the length of the JSON; the JSON, a
`Snapshot`; and then bytes to which the JSON refers by position and size (`Blob`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, Self

from pydantic import ValidationError

from farhand_server.history import SCHEMA_VERSION
from farhand_server.runs.left import LeftRunSnapshot
from farhand_server.runs.run import RunSnapshot
from farhand_server.runs.snapshots import Blob, Descriptor, SnapshotRecord

SNAPSHOT_VERSION: Final = 1
"""Incremented with every change that a program with a different number would not understand."""

_MAGIC: Final = "farhand-upgrade"

_LONGEST_LINE: Final = 64
"""Maximum bytes of the first line."""

_AT_ONCE: Final = 1 << 30
"""Maximum bytes of one read(2) or write(2). Linux accepts just under 2 GiB."""


class SnapshotError(Exception):
    """This program cannot resume from the snapshot. The text says why."""


class Snapshot(SnapshotRecord):
    """The state of a core that outlives its program. `left` is the time when the clients were disconnected, on the
    monotonic clock."""

    program: str
    left: float
    lock: Descriptor | None
    local: Descriptor
    edges: Descriptor | None
    listening: tuple[Descriptor, ...]
    edge: int | None
    runs: tuple[RunSnapshot, ...]
    left_runs: tuple[LeftRunSnapshot, ...] = ()
    web_listening: tuple[Descriptor, ...] = ()
    web: int | None = None
    history_version: int = 0
    """The version of the history's tables; 0 if an earlier program does not say it. A program that knows only an
    earlier version could keep the runs, but start none, and would refuse every further upgrade."""

    def descriptors(self) -> Iterator[int]:
        """Iterate over all descriptors that the new program needs."""
        yield from (fd for fd in (self.lock, self.local, self.edges) if fd is not None)
        yield from self.listening
        yield from self.web_listening
        for run in self.runs:
            yield from run.descriptors()

    def unreaped_leaders(self) -> list[int]:
        """Return the pids of all leaders of runs that have not been reaped."""
        return [run.unreaped_leader for run in self.runs if run.unreaped_leader is not None]


class SnapshotWriter:
    """Collects the bytes that follow the JSON, and writes the file. With `counting`, only the sizes of the bytes are
    kept."""

    def __init__(self, *, counting: bool = False) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._counting = counting

    def put(self, chunks: list[bytes]) -> Blob:
        """Add bytes, and return their position and size in the file."""
        size = sum(map(len, chunks))
        if not self._counting:
            self._chunks += chunks
        blob = (self._size, size)
        self._size += size
        return blob

    def write(self, state: Snapshot) -> int:
        """Write everything to a new file and return its descriptor, which child processes do not inherit. Raises
        OSError."""
        text = state.model_dump_json().encode()
        fd = os.memfd_create(_MAGIC, os.MFD_CLOEXEC)
        try:
            _write(fd, b"%s %d %d\n" % (_MAGIC.encode(), SNAPSHOT_VERSION, len(text)))
            for chunk in (text, *self._chunks):
                _write(fd, chunk)
        except BaseException:
            os.close(fd)
            raise
        return fd


class ReceivedSnapshot:
    """A snapshot that the previous program has written."""

    def __init__(self, snapshot: Snapshot, fd: int, begin: int) -> None:
        self.snapshot: Final = snapshot
        self._fd = fd
        self._begin = begin

    @classmethod
    def read(cls, fd: int) -> Self:
        """Read the snapshot, but not the bytes after the JSON. Raises `SnapshotError`."""
        try:
            line = os.pread(fd, _LONGEST_LINE, 0).partition(b"\n")[0]
            fields = line.decode("ascii", "replace").split()
            if len(fields) != 3 or fields[0] != _MAGIC or not (fields[1] + fields[2]).isdigit():
                raise SnapshotError(f"descriptor {fd} is not the snapshot of a farhandd")
            if int(fields[1]) != SNAPSHOT_VERSION:
                raise SnapshotError(
                    f"the running program writes snapshots of version {fields[1]}, and the new one reads version "
                    f"{SNAPSHOT_VERSION}; stop the service and start it again instead"
                )
            text = _read(fd, len(line) + 1, int(fields[2]))
            snapshot = Snapshot.model_validate_json(text)
            if snapshot.history_version > SCHEMA_VERSION:
                raise SnapshotError(
                    f"the history's tables have version {snapshot.history_version}, and the new program knows them up "
                    f"to version {SCHEMA_VERSION}; install a later one"
                )
            return cls(snapshot, fd, len(line) + 1 + len(text))
        except OSError as error:
            raise SnapshotError(f"the snapshot cannot be read from descriptor {fd}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise SnapshotError(
                f"the running program's snapshot contains something that the new program does not understand: {where}: "
                f"{first['msg']}; stop the service and start it again instead"
            ) from None

    def get(self, blob: Blob) -> bytes:
        """Return bytes that follow the JSON. Raises OSError."""
        return _read(self._fd, self._begin + blob[0], blob[1])

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left[:_AT_ONCE]) :]


def _read(fd: int, offset: int, size: int) -> bytes:
    chunks = []
    while size:
        chunk = os.pread(fd, min(size, _AT_ONCE), offset)
        if not chunk:
            raise OSError(0, "it is truncated")
        chunks.append(chunk)
        offset += len(chunk)
        size -= len(chunk)
    return b"".join(chunks)
