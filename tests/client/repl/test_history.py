"""Typed lines last from one start to the next, and nothing that happens to their file stops the REPL."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from farhand_client.repl.history import KEPT, LOADED, DiskHistory


async def loaded(history: DiskHistory) -> list[str]:
    return [entry async for entry in history.load()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history is; its directory does not exist yet."""
    return tmp_path / "farhand/history"


async def test_entries_come_back_latest_first(path: Path) -> None:
    entries = ["ls", "echo 'a\n  b'", "printf 'x\\n\\\\n'", "Übung\ttab"]
    first = DiskHistory(path)
    for entry in entries:
        first.append_string(entry)
    assert await loaded(DiskHistory(path)) == entries[::-1]


async def test_the_file_is_the_users_alone(path: Path) -> None:
    DiskHistory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_secrets_repetitions_and_nothing_are_not_kept(path: Path) -> None:
    history = DiskHistory(path)
    for entry in ["ls", "ls", " export TOKEN=x", "  ", ""]:
        history.append_string(entry)
    assert await loaded(DiskHistory(path)) == ["ls"]


async def test_what_two_of_them_write_is_all_kept(path: Path) -> None:
    one, other = DiskHistory(path), DiskHistory(path)
    one.append_string("one")
    other.append_string("other")
    assert await loaded(DiskHistory(path)) == ["other", "one"]


async def test_a_history_that_cannot_be_opened_is_said_and_survived(tmp_path: Path) -> None:
    (tmp_path / "farhand").write_text("in the way")
    history = DiskHistory(tmp_path / "farhand/history")
    assert history.problem is not None
    assert str(tmp_path / "farhand/history") in history.problem
    history.append_string("ls")
    assert await loaded(history) == ["ls"]


async def test_a_disk_that_fills_up_is_said_and_survived(tmp_path: Path) -> None:
    full = tmp_path / "history"
    full.symlink_to("/dev/full")
    history = DiskHistory(full)
    assert history.problem is None
    history.append_string("ls")
    assert "No space left" in str(history.problem)
    history.append_string("pwd")
    assert await loaded(history) == ["pwd", "ls"]


async def test_what_is_not_text_is_skipped_and_said(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"good\n\xff\xfe\nesc\x1b[2J\n\0\0\nfine\n")
    history = DiskHistory(path)
    assert await loaded(history) == ["fine", "good"]
    assert str(history.problem).startswith("3 lines ")


async def test_only_the_end_of_a_long_history_is_read_and_one_too_long_is_cut(path: Path) -> None:
    path.parent.mkdir()
    count = KEPT // 10 + 1
    path.write_bytes(b"".join(b"%9d\n" % number for number in range(count)))
    history = DiskHistory(path)
    entries = await loaded(history)
    assert entries[0].strip() == str(count - 1)
    assert len(entries) <= LOADED // 10
    assert path.stat().st_size <= LOADED
    history.append_string("after")
    assert (await loaded(DiskHistory(path)))[:2] == ["after", entries[0]]
    assert [file.name for file in path.parent.iterdir()] == ["history"]
