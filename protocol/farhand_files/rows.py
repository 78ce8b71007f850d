"""Regular files of one directory, as they travel in a `wire.FileTable`, and events about several of them at once.

Of a tree that is up to date nothing else is sent, so a file costs no object here but its name and its numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from . import wire
from .events import Event, Found, Skipped
from .names import MAX_COMPONENT


class FileRows:
    """Files with the numbers from `number` on, in the directory with this path; empty at the top."""

    __slots__ = ("directory", "modes", "mtimes", "names", "number", "plain", "sizes")

    def __init__(
        self,
        number: int,
        directory: bytes,
        names: Sequence[bytes],
        modes: Sequence[int],
        sizes: Sequence[int],
        mtimes: Sequence[int],
    ) -> None:
        self.number = number
        self.directory = directory
        self.names = names
        self.modes = modes
        self.sizes = sizes
        self.mtimes = mtimes
        self.plain = False
        """Whether the names need no further check. Others may be good ones, too."""

    @classmethod
    def of(cls, table: wire.FileTable) -> FileRows:
        """Return the rows of a table that was decoded."""
        names = table.names.split(b"\0")
        count = len(names)
        rows = cls(
            table.number,
            table.directory,
            names,
            struct.unpack(f">{count}H", table.modes),
            struct.unpack(f">{count}Q", table.sizes),
            struct.unpack(f">{count}q", table.mtimes),
        )
        joined, sizes = b"\0" + table.names, tuple(map(len, names))
        rows.plain = (
            b"/" not in joined
            and b"\0." not in joined
            and min(sizes) > 0
            and max(sizes) <= min(MAX_COMPONENT, wire.MAX_PATH - len(table.directory) - 1)
        )
        return rows

    def table(self) -> wire.FileTable:
        """Return the frame of these files."""
        count = len(self.names)
        return wire.FileTable(
            self.number,
            self.directory,
            struct.pack(f">{count}H", *self.modes),
            struct.pack(f">{count}Q", *self.sizes),
            struct.pack(f">{count}q", *self.mtimes),
            b"\0".join(self.names),
        )

    def __len__(self) -> int:
        return len(self.names)

    def path(self, row: int) -> bytes:
        """Return the path of a file."""
        name = self.names[row]
        return self.directory + b"/" + name if self.directory else name

    def entry(self, row: int) -> wire.Entry:
        """Return the entry of a file. The owner is not in a table."""
        number, mode = self.number + row, self.modes[row]
        return wire.Entry(number, wire.REGULAR, mode, 0, 0, self.mtimes[row], self.sizes[row], self.path(row))


class RowEvents:
    """A `Found` or `Skipped` for each of the files from `start` up to `stop`."""

    __slots__ = ("kind", "rows", "start", "stop")

    def __init__(self, kind: type[Found | Skipped], rows: FileRows, start: int, stop: int) -> None:
        self.kind = kind
        self.rows = rows
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def each(self) -> Iterator[Event]:
        """Yield the events."""
        rows = self.rows
        for row in range(self.start, self.stop):
            if self.kind is Found:
                yield Found(rows.path(row), wire.REGULAR, rows.sizes[row])
            else:
                yield Skipped(rows.path(row), rows.sizes[row])


Happened: TypeAlias = Event | RowEvents
Report: TypeAlias = Callable[[Happened], None]
"""Called with what a sender or receiver does, in the thread that does it; it must return at once."""


def each_event(happened: Happened) -> Iterator[Event]:
    """Yield the events that are reported at once."""
    if isinstance(happened, RowEvents):
        yield from happened.each()
    else:
        yield happened
