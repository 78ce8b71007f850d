"""How far a transfer is, from its events: which files are under way, how much is done, how long it takes. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from farhand_files.events import Begun, Event, Finished, Found, FoundAll, Moved, Removed, Skipped, Trouble
from farhand_files.names import entry_path
from farhand_files.wire import REGULAR

RATE_WINDOW: Final = 8.0
"""Seconds over which the rate is averaged: long enough to be read, short enough to follow a change of the network."""

MAX_SAMPLES: Final = 128
"""Samples of the rate that are kept: one for each redraw in `RATE_WINDOW`, and some for redraws of other causes."""


@dataclass(slots=True)
class MovingFile:
    """A file whose content is being transferred. `size` is -1 if it is unknown."""

    path: bytes
    size: int
    done: int


class TransferState:
    """What the events of a transfer have reported so far. `note` takes each of them, whatever its order."""

    def __init__(self) -> None:
        self.under_way: Final[dict[bytes, MovingFile]] = {}
        """In the order in which they have started."""
        self._moved = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=MAX_SAMPLES)
        self._begin_walk(None)

    def _begin_walk(self, first: bytes | None) -> None:
        self._first = first
        self.under_way.clear()
        self.files = 0
        """Regular files found."""
        self.size = 0
        """Bytes of those whose size is known."""
        self.walked = False
        """Whether everything was found, so that `files` and `size` are final."""
        self.sized = True
        """Whether all sizes are known."""
        self.over = 0
        """Files that are in place, up to date or failed."""
        self.failed = 0
        self.deleted = 0
        self._settled = 0
        self._moving = 0

    @property
    def done(self) -> int:
        """Bytes of content that are in place, were there already, or have been passed on so far."""
        return self._settled + self._moving

    def note(self, event: Event) -> None:
        """Take one event."""
        match event:
            case Moved():
                self._advance(event.path, event.done)
            case Found():
                if self._first is None or event.path == self._first:
                    self._begin_walk(event.path)  # another attempt finds everything again
                if event.kind == REGULAR:
                    self.files += 1
                    self.size += max(event.size, 0)
                    self.sized = self.sized and event.size >= 0
            case Begun():
                self._drop(event.path)
                self.under_way[event.path] = MovingFile(event.path, event.size, event.kept)
                self._moving += event.kept
            case Finished():
                known = self.under_way.get(event.path)
                if known is None:
                    self._moved += max(event.size - event.kept, 0)
                else:
                    self._advance(event.path, event.size)
                    self._drop(event.path)
                self._settled += event.size
                self.over += 1
            case Skipped():
                self._settled += event.size
                self.over += 1
            case Trouble(errno=0):
                pass  # nothing has failed
            case Trouble():
                self.failed += 1
                self._give_up(event.path)
            case Removed():
                self.deleted += 1
            case FoundAll():
                self.walked = True

    def sample(self, now: float) -> None:
        """Note how much has moved at `now`, for `rate`."""
        if self._samples and self._samples[-1][0] == now:
            self._samples.pop()
        self._samples.append((now, self._moved))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Bytes of content a second, on average over the last seconds; None if there were not two samples yet."""
        if len(self._samples) < 2:
            return None
        (before, less), (now, more) = self._samples[0], self._samples[-1]
        return (more - less) / (now - before) if now > before else None

    @property
    def fraction(self) -> float | None:
        """How much is done, from 0 to 1; None if that cannot be said."""
        if not self.walked or not self.sized:
            return None
        if self.size:
            return min(self.done / self.size, 1.0)
        return min(self.over / self.files, 1.0) if self.files else 1.0

    @property
    def seconds_left(self) -> float | None:
        """The time that the rest takes at the present rate; None if that cannot be said."""
        rate = self.rate
        if self.fraction is None or not rate:
            return None
        return max(self.size - self.done, 0) / rate

    def _advance(self, path: bytes, done: int) -> None:
        file = self.under_way.get(path)
        if file is None:  # small files may not be reported to have started
            file = self.under_way[path] = MovingFile(path, -1, 0)
        self._moving += done - file.done
        self._moved += max(done - file.done, 0)
        file.done = done

    def _drop(self, path: bytes) -> MovingFile | None:
        file = self.under_way.pop(path, None)
        if file is not None:
            self._moving -= file.done
        return file

    def _give_up(self, named: bytes) -> None:
        path = entry_path(named, self.under_way)
        file = None if path is None else self._drop(path)
        if file is None:
            return
        self._settled += max(file.size, file.done)
        self.over += 1
