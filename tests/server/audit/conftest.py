"""A state directory with an audit log."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farhand_server.audit import AuditEntry, AuditEvent, AuditLog
from farhand_server.config import AuditSettings
from tests.support.history import LogFile


class AuditDirectory:
    """A state directory whose audit log a test may open and close repeatedly."""

    def __init__(self, directory: Path, log: LogFile) -> None:
        self.state = directory / "state"
        self.file = self.state / "audit.jsonl"
        self.head = self.state / "audit.head"
        self.log = log

    def open(self, **settings: object) -> AuditLog:
        """Open the audit log with these settings."""
        return AuditLog.open(self.state, AuditSettings.model_validate(settings), self.log.logger)

    def write(self, count: int, *, user: str = "ada", **settings: object) -> None:
        """Open the audit log, write `count` entries, one per flush, and close it. Only root may write any number."""
        audit = self.open(**settings)
        for number in range(count):
            audit.record(entry(detail=f"entry {number}", user=user))
            audit.flush()
        audit.close()

    def entries(self) -> list[dict[str, object]]:
        """Return the entries in the current file."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def events(self) -> list[object]:
        """Return the events in the current file."""
        return [found["event"] for found in self.entries()]


def entry(event: AuditEvent = "start", detail: str | None = None, *, user: str = "ada") -> AuditEntry:
    """Return an entry of a user."""
    return AuditEntry(event, 1_800_000_000.125, user=user, how="peer", run="r1", argv=(b"true",), detail=detail)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[AuditDirectory]:
    log = LogFile(tmp_path)
    yield AuditDirectory(tmp_path, log)
    log.close()


@contextmanager
def file_size(limit: int) -> Iterator[None]:
    """Limit the size of files of this process to `limit` bytes, which acts like a full disk (setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
