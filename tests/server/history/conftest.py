"""A state directory with a history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.history import HistoryDirectory, LogFile


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    log = LogFile(tmp_path)
    yield log
    log.close()


@pytest.fixture
def directory(tmp_path: Path, log: LogFile) -> Iterator[HistoryDirectory]:
    directory = HistoryDirectory(tmp_path, log)
    yield directory
    directory.close_all()
