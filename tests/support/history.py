"""Histories for tests: records, ids created at any time, a readable log, clocks that can be set."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from pathlib import Path
from unittest import mock

from farhand_server.config import HistorySettings
from farhand_server.history import History, RunRecord, database
from farhand_server.history.retention import SystemClock
from farhand_server.logs import Logger, LogSink

EXITED = b'{"status":"exited","code":0}'


def uuid7(created: float, number: int = 0) -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7) created at `created` seconds since 1970."""
    digits = f"{int(created * 1000):012x}7{0:03x}8{number:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid4(number: int) -> str:
    """Return an id that does not contain its time of creation."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def record(id: str, *, owner: str = "ada", request: bytes = b'{"argv":["true"]}', at: float = 0.0) -> RunRecord:
    """Return the record of a run that is about to be started."""
    return RunRecord(
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


def running(history: History) -> list[RunRecord]:
    """Return the records without an outcome, newest first."""
    return [found for found in history.recent(limit=1_000_000)[0] if found.outcome is None]


class FakeClock(SystemClock):
    """Clocks that are moved by hand: `advance` moves all of them, `jump` only the wall clock."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self._wall = wall
        self._boottime = 1000.0
        self._boot = "first"

    def wall(self) -> float:
        return self._wall

    def boottime(self) -> float:
        return self._boottime

    def boot_id(self) -> str:
        return self._boot

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._boottime += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock ahead or back."""
        self._wall += seconds

    def reboot(self, off: float) -> None:
        """Restart the machine after it was off for `off` seconds."""
        self._wall += off
        self._boottime = 1.0
        self._boot += "+"


class LogFile:
    """A logger that writes to a file, and the text written so far."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "log"
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.logger = Logger(LogSink(self._descriptor), {})

    def __str__(self) -> str:
        return self._file.read_text()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class HistoryDirectory:
    """A state directory whose history a test may open and close repeatedly."""

    def __init__(self, directory: Path, log: LogFile) -> None:
        self.state = directory / "state"
        self.file = self.state / "history.db"
        self.clock = FakeClock(1_799_999_999.0)
        self._new = True
        self.log = log
        self.opened: list[History] = []
        self._handles: dict[History, tuple[sqlite3.Connection, int]] = {}
        self._fillers = 0

    def open(self, *, resume: int | None = None, **settings: object) -> History:
        """Open the history with these settings. If it is new, the ids that the test creates are newer by a second."""
        new, self._new = self._new, False
        connections: list[sqlite3.Connection] = []
        locks: list[int] = []
        connect, acquire, adopt = database.connect, database.acquire_lock, database.adopt_lock

        def record_connection(file: Path | None) -> sqlite3.Connection:
            connections.append(connect(file))
            return connections[-1]

        def record_lock(state_dir: Path) -> int:
            locks.append(acquire(state_dir))
            return locks[-1]

        def record_adopted(state_dir: Path, descriptor: int) -> int:
            locks.append(adopt(state_dir, descriptor))
            return locks[-1]

        with (
            mock.patch.object(database, "connect", record_connection),
            mock.patch.object(database, "acquire_lock", record_lock),
            mock.patch.object(database, "adopt_lock", record_adopted),
        ):
            history = History.open(
                self.state, HistorySettings.model_validate(settings), self.log.logger, resume=resume, clock=self.clock
            )
        if new:
            self.clock.advance(1.0)
        self.opened.append(history)
        self._handles[history] = connections[-1], locks[-1] if locks else -1
        return history

    def close(self, history: History) -> None:
        """Close the history in order."""
        self.opened.remove(history)
        history.close()

    def forget(self, history: History) -> None:
        """Do not close a history that was handed over or left behind."""
        self.opened.remove(history)

    def close_all(self) -> None:
        """Close all histories that a test has left open."""
        for history in list(self.opened):
            self.close(history)

    def crash(self, history: History) -> None:
        """Abandon the history as a killed service does: its descriptors are closed, and nothing more is written."""
        self.opened.remove(history)
        db, lock = self._handles[history]
        db.close()
        os.close(lock)

    def connection(self, history: History) -> sqlite3.Connection:
        """Return the history's own connection to its database, to make it fail."""
        return self._handles[history][0]

    def new_id(self, number: int = 0) -> str:
        """Return an id created now."""
        return uuid7(self.clock.wall(), number)

    def prune(self, history: History) -> None:
        """Start and end so many runs that everything beyond the retention has been deleted."""
        for _ in range(64):
            self._fillers += 1
            self.run(history, uuid4(0xF0000000 + self._fillers))

    def run(self, history: History, id: str, *, request: bytes = b"{}", owner: str = "ada") -> str:
        """Record a run that has started and ended, durably; return its id."""
        history.starting(record(id, request=request, owner=owner, at=self.clock.wall()))
        history.ended(id, EXITED, stdout=1, stderr=2, duration=0.5)
        history.flush()
        return id
