"""A state directory with a history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.history import Lines, Shelf


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    lines = Lines(tmp_path)
    yield lines
    lines.close()


@pytest.fixture
def shelf(tmp_path: Path, lines: Lines) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path, lines)
    yield shelf
    for history in list(shelf.open_ones):
        shelf.close(history)
