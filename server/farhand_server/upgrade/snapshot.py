"""What a core hands to the program that replaces it: a file without a name, of a line, JSON, and bytes behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final, Self

from pydantic import ValidationError

from farhand_server.runs.run import RunSnapshot
from farhand_server.runs.snapshots import Blob, Descriptor, SnapshotRecord

SNAPSHOT_VERSION: Final = 1
"""Counted up with every change that a program of another version would not understand."""

_MAGIC: Final = "farhand-upgrade"

_LONGEST_LINE: Final = 64
"""Bytes of the first line, at most."""

_AT_ONCE: Final = 1 << 30
"""Bytes of one read(2) or write(2): Linux takes just under 2 GiB."""


class SnapshotError(Exception):
    """The state is none that this program can go on from; the text says why."""


class Snapshot(SnapshotRecord):
    """Everything of a core that outlives its program. `left` is when it let its clients go, on the monotonic clock."""

    program: str
    left: float
    lock: Descriptor | None
    local: Descriptor
    edges: Descriptor | None
    listening: tuple[Descriptor, ...]
    edge: int | None
    runs: tuple[RunSnapshot, ...]

    def descriptors(self) -> Iterator[int]:
        """Those that have to stay open."""
        yield from (fd for fd in (self.lock, self.local, self.edges) if fd is not None)
        yield from self.listening
        for run in self.runs:
            yield from run.descriptors()

    def unreaped_leaders(self) -> list[int]:
        """Return the pids of all leaders of runs that have not been waited for."""
        return [run.unreaped_leader for run in self.runs if run.unreaped_leader is not None]


class SnapshotWriter:
    """Bytes put aside, to be written behind the JSON; with `counting` only their sizes are."""

    def __init__(self, *, counting: bool = False) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._counting = counting

    def put(self, pieces: list[bytes]) -> Blob:
        """Put bytes aside and say where they will be."""
        size = sum(map(len, pieces))
        if not self._counting:
            self._pieces += pieces
        blob = (self._size, size)
        self._size += size
        return blob

    def write(self, state: Snapshot) -> int:
        """Return the descriptor of a new file with all of it, which no program inherits. Raises OSError."""
        text = state.model_dump_json().encode()
        fd = os.memfd_create(_MAGIC, os.MFD_CLOEXEC)
        try:
            _write(fd, b"%s %d %d\n" % (_MAGIC.encode(), SNAPSHOT_VERSION, len(text)))
            for piece in (text, *self._pieces):
                _write(fd, piece)
        except BaseException:
            os.close(fd)
            raise
        return fd


class ReceivedSnapshot:
    """The state that another program has written."""

    def __init__(self, snapshot: Snapshot, fd: int, begin: int) -> None:
        self.snapshot: Final = snapshot
        self._fd = fd
        self._begin = begin

    @classmethod
    def read(cls, fd: int) -> Self:
        """Read all but the bytes behind the JSON. Raises `SnapshotError`."""
        try:
            line = os.pread(fd, _LONGEST_LINE, 0).partition(b"\n")[0]
            fields = line.decode("ascii", "replace").split()
            if len(fields) != 3 or fields[0] != _MAGIC or not (fields[1] + fields[2]).isdigit():
                raise SnapshotError(f"descriptor {fd} is not the state of a farhandd")
            if int(fields[1]) != SNAPSHOT_VERSION:
                raise SnapshotError(
                    f"the running program hands over its state in version {fields[1]}, and this one reads version "
                    f"{SNAPSHOT_VERSION}; stop the service and start it again instead"
                )
            text = _read(fd, len(line) + 1, int(fields[2]))
            return cls(Snapshot.model_validate_json(text), fd, len(line) + 1 + len(text))
        except OSError as error:
            raise SnapshotError(f"the state cannot be read from descriptor {fd}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise SnapshotError(
                f"the running program hands over what this one does not understand: {where}: {first['msg']}; stop the "
                "service and start it again instead"
            ) from None

    def get(self, blob: Blob) -> bytes:
        """Return bytes that were put aside. Raises OSError."""
        return _read(self._fd, self._begin + blob[0], blob[1])

    def close(self) -> None:
        """Nothing more is wanted of it."""
        os.close(self._fd)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left[:_AT_ONCE]) :]


def _read(fd: int, offset: int, size: int) -> bytes:
    pieces = []
    while size:
        piece = os.pread(fd, min(size, _AT_ONCE), offset)
        if not piece:
            raise OSError(0, "it is cut short")
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return b"".join(pieces)
