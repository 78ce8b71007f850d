"""Histories for tests: records, ids of any age, a log that is read, clocks that are set."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from farhand_server.config import HistorySettings
from farhand_server.history import History, Record
from farhand_server.history.clock import Clock
from farhand_server.logs import Logger, Sink

EXITED = b'{"status":"exited","code":0}'


def uuid7(made: float, number: int = 0) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) made at `made` seconds since 1970."""
    digits = f"{int(made * 1000):012x}7{0:03x}8{number:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid4(number: int) -> str:
    """An id that says nothing of when it was made."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def record(id: str, *, owner: str = "ada", request: bytes = b'{"argv":["true"]}', at: float = 0.0) -> Record:
    """A run that is about to be started."""
    return Record(
        id=id,
        owner=owner,
        uid=1000,
        how="key",
        fingerprint="SHA256:abc",
        peer="192.0.2.7:50214",
        request=request,
        request_sha256=hashlib.sha256(request).digest(),
        requested_at=at or time.time(),
    )


class SetClock(Clock):
    """Clocks that go as they are told: `passes` moves all, `step` the wall clock alone."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self._wall = wall
        self._boottime = 1000.0
        self._boot = "first"

    def wall(self) -> float:
        """Clock."""
        return self._wall

    def boottime(self) -> float:
        """Clock."""
        return self._boottime

    def boot_id(self) -> str:
        """Clock."""
        return self._boot

    def passes(self, seconds: float) -> None:
        """Let time go by."""
        self._wall += seconds
        self._boottime += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock ahead, or back."""
        self._wall += seconds

    def reboot(self, off: float) -> None:
        """Start the machine anew after it was off for `off` seconds."""
        self._wall += off
        self._boottime = 1.0
        self._boot += "+"


class Lines:
    """A logger and what it has written."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "log"
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.logger = Logger(Sink(self._descriptor), {})

    def __str__(self) -> str:
        return self._file.read_text()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class Shelf:
    """A state directory whose history is opened and closed again and again."""

    def __init__(self, directory: Path, lines: Lines) -> None:
        self.state = directory / "state"
        self.file = self.state / "history.db"
        self.clock = SetClock()
        self.lines = lines
        self.open_ones: list[History] = []
        self._settled = 0

    def open(self, *, resume: int | None = None, **settings: object) -> History:
        """Open it with these settings."""
        history = History.open(
            self.state, HistorySettings.model_validate(settings), self.lines.logger, resume=resume, clock=self.clock
        )
        self.open_ones.append(history)
        return history

    def close(self, history: History) -> None:
        """Close it in order."""
        self.open_ones.remove(history)
        history.close()

    def crash(self, history: History) -> None:
        """Leave it as a killed service does: the kernel closes its descriptors, and nothing more is written."""
        self.open_ones.remove(history)
        history._writer.db.close()
        os.close(history._lock)

    def new_id(self, number: int = 0) -> str:
        """An id made now."""
        return uuid7(self.clock.wall(), number)

    def settle(self, history: History) -> None:
        """Have so many runs started and ended that what is beyond the retention has been removed."""
        for _ in range(64):
            self._settled += 1
            self.run(history, uuid4(0xF0000000 + self._settled))

    def run(self, history: History, id: str, *, request: bytes = b"{}", owner: str = "ada") -> str:
        """Have a run started and ended, durably."""
        history.starting(record(id, request=request, owner=owner, at=self.clock.wall()))
        history.ended(id, EXITED, stdout=1, stderr=2, duration=0.5)
        history.flush()
        return id
