"""Records that are needed at the end take little memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_files import spill
from farhand_files.opening import Area
from farhand_files.spill import Spill


@pytest.fixture(params=["unnamed", "named"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spill]:
    monkeypatch.setattr(spill, "MAX_SPILL_TAIL", 1000)
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    with Area(None, b"/").open_directory(os.fsencode(tmp_path)) as directory:
        made = Spill(directory)
        yield made
        made.close()
        made.close()


@pytest.mark.parametrize("count", [0, 1, 5, 500])
def test_records_are_read_in_both_orders_and_by_position(empty: Spill, tmp_path: Path, count: int) -> None:
    records = [b"%d" % number * (number % 7) for number in range(count)]
    positions = [empty.append(record) for record in records]
    assert list(empty.forwards()) == records
    assert list(empty.backwards()) == records[::-1]
    assert [empty.read(position) for position in positions] == records
    assert not list(tmp_path.iterdir())
