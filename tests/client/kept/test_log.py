"""The log of a kept process says what happened and when, and never grows beyond its bound."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import pytest

from farhand_client.kept import log
from farhand_client.kept.log import KeptLog


def test_each_line_has_a_time_and_no_control_characters(tmp_path: Path) -> None:
    kept = KeptLog(tmp_path / "a/b.log")
    kept.write("lost\x1b[2J")
    kept.write("back \udcff")
    first, second = kept.path.read_text().splitlines()
    moment, text = first.split(" ", 1)
    assert datetime.fromisoformat(moment).tzinfo is not None
    assert text == r"lost\x1b[2J"
    assert second.partition(" ")[2].startswith("back \\")
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


def test_it_begins_again_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_LOG_SIZE", 200)
    kept = KeptLog(tmp_path / "b.log")
    for number in range(20):
        kept.write(f"line {number}")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.name.startswith("b.log")}
    assert sizes.keys() <= {"b.log", "b.log.1"}
    assert all(size < 300 for size in sizes.values())
    assert "line 19" in "".join(path.read_text() for path in tmp_path.glob("b.log*"))


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    KeptLog(tmp_path / "file/b.log").write("lost")
