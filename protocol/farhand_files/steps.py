"""What a walk finds, step by step: the entries and frames that a sender sends, and where it reads content."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from . import wire
from .rows import FileRows
from .sources import SourceDirectory


class Pipe(NamedTuple):
    """A source of unknown length: what can be read from a descriptor. `name` is that of its entry."""

    fd: int
    name: bytes


class Readable(NamedTuple):
    """A regular file: its entry, and where it is. `name` is not that of the entry if the source was a symbolic link."""

    entry: wire.Entry
    place: SourceDirectory
    name: bytes


class ReadableRows(NamedTuple):
    """Regular files of one directory."""

    rows: FileRows
    place: SourceDirectory

    def readable(self, row: int) -> Readable:
        """Return one of the files."""
        return Readable(self.rows.entry(row), self.place, self.rows.names[row])


class Piped(NamedTuple):
    """The entry of a pipe."""

    entry: wire.Entry
    pipe: Pipe


WalkStep: TypeAlias = Readable | ReadableRows | Piped | wire.Entry | wire.Problem | wire.Listed
"""What the walk has found: a regular file or a pipe, or a frame to be sent as it is."""
