"""A regular file that is to be received, and what is open for it."""

from __future__ import annotations

import contextlib
import os
import threading
from enum import Enum, auto
from typing import Final

from . import wire
from .opening import join
from .planning import Action
from .temporary import Temporary
from .writing import ArrivingContent, Basis

IN_PLACE_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: a FIFO that has come into the place of the file blocks nobody."""


class Stage(Enum):
    """How far a file is. Content may only come for one that is `WANTED` or `RECEIVING`."""

    DECIDED = auto()
    WANTED = auto()
    RECEIVING = auto()
    COMPLETE = auto()


class ArrivingFile:
    """A regular file without an answer. `place` is its path below the destination."""

    __slots__ = (
        "action",
        "basis",
        "begun",
        "content",
        "differs",
        "entry",
        "held",
        "left",
        "names",
        "place",
        "prepared",
        "slot",
        "spent",
        "stage",
        "temporary",
        "told",
    )

    def __init__(self, entry: wire.Entry) -> None:
        self.entry = entry
        self.place: tuple[bytes, ...] = ()
        self.action = Action.WANT_ALL
        self.stage = Stage.DECIDED
        self.content: ArrivingContent | None = None
        self.temporary: Temporary | None = None
        """What its content is written to: a temporary file, or the file itself if it is written in place."""
        self.basis: list[Basis] = []
        self.left = False
        """Whether an earlier attempt may have left something for it."""
        self.spent: Temporary | None = None
        """What an earlier attempt has left, if it is only read."""
        self.prepared = False
        self.slot: threading.Semaphore | None = None
        """What lets the next file be prepared."""
        self.names: list[wire.Entry] = []
        """Its further names, which are made once it is in place."""
        self.told = False
        """Whether it is worth telling that mode or time were set, if its content is up to date."""
        self.differs = False
        """Whether its content is known to differ, with `dry_run`."""
        self.begun = 0.0
        self.held = 0
        """Bytes of memory that count for it."""

    def arriving(self) -> ArrivingContent:
        """Return its content, which has begun to arrive."""
        assert self.content is not None
        return self.content

    def release(self) -> None:
        """Close what was read, and remove what an earlier attempt has left. May be called twice."""
        slot, self.slot = self.slot, None
        if slot is not None:
            slot.release()
        spent, self.spent = self.spent, None
        for basis in self.basis:
            if spent is None or basis.fd != spent.fd:
                with contextlib.suppress(OSError):
                    os.close(basis.fd)
        self.basis = []
        if spent is not None:
            spent.remove()

    def discard(self, *, in_place: bool, keep: bool = False) -> None:
        """Close everything. Temporary files are removed, unless `keep` says that they may be of use to another attempt:
        all that are large enough, also one of an earlier attempt of which this one has used little yet."""
        temporary, self.temporary = self.temporary, None
        if temporary is not None:
            if in_place or (keep and self._is_of_use(temporary)):
                temporary.close()
            else:
                temporary.remove()
        if keep and self.spent is not None:
            self.spent.close()
            self.spent = None
            self.basis = self.basis[:-1]
        self.release()

    def _is_of_use(self, temporary: Temporary) -> bool:
        large = temporary.fd >= 0 and os.fstat(temporary.fd).st_size >= wire.CHUNK
        return large and not temporary.is_superseded(self.entry.size, self.entry.mtime)

    def path(self, top: bytes) -> bytes:
        """Return its path for people on this side."""
        return join(top, *self.place)
