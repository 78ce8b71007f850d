"""Regular files that were sent and that the receiver has not answered yet."""

from __future__ import annotations

from . import wire
from .opening import join
from .steps import Piped, Readable, ReadableRows

# States of a file: LISTED until it is wanted, WANTED while more digests follow, QUEUED until its content is being sent
LISTED, WANTED, QUEUED, SENDING, SENT, ABORTED = range(6)


class PendingFile:
    """A regular file that the receiver has not answered yet."""

    __slots__ = (
        "basis",
        "blake3",
        "differs",
        "entry",
        "failed",
        "full",
        "have",
        "kept",
        "origin",
        "sent",
        "sha256",
        "size",
        "state",
    )

    def __init__(self, origin: Readable | Piped) -> None:
        self.origin = origin
        self.entry = origin.entry
        self.state = LISTED
        self.basis = wire.NOTHING
        self.have = bytearray()
        self.full = self.failed = self.differs = False
        self.size = self.sent = self.kept = 0
        self.blake3 = self.sha256 = b""

    def shown(self) -> bytes:
        """Return the path for people on this side."""
        return join(self.origin.place.path, self.origin.name) if isinstance(self.origin, Readable) else self.entry.path


class PendingRows:
    """Regular files that were sent in one table. Those that are wanted become `PendingFile`s."""

    __slots__ = ("first", "left", "origin", "taken")

    def __init__(self, origin: ReadableRows) -> None:
        self.origin = origin
        self.first = origin.rows.number
        self.left = len(origin.rows)
        self.taken = bytearray(self.left)

    def end_of_free(self, number: int, end: int) -> int:
        """Return where, from `number` to `end`, the first file is that is not among these any more."""
        start, stop = number - self.first, min(end - self.first, len(self.taken))
        at = self.taken.find(1, start, stop)
        return self.first + (stop if at < 0 else at)

    def take(self, number: int, end: int) -> None:
        """These numbers have their answer, or are wanted."""
        start, stop = number - self.first, end - self.first
        self.taken[start:stop] = b"\1" * (stop - start)
        self.left -= stop - start
