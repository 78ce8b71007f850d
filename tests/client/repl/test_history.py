"""The history on disk: it survives restarts, is shared, and no damage to its file stops the REPL."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, lists, text

from farhand_client.repl.history import MAX_HISTORY_FILE, MAX_LOADED, DiskHistory, history_file
from farhand_client.repl.lines import decode, encode


async def loaded(history: DiskHistory) -> list[str]:
    return [entry async for entry in history.load()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The history's file, in a directory that does not exist yet."""
    return tmp_path / "farhand/history"


async def test_entries_are_loaded_latest_first(path: Path) -> None:
    entries = ["ls", "echo 'a\n  b'", "printf 'x\\n\\\\n'", "Übung\ttab"]
    first = DiskHistory(path)
    for entry in entries:
        first.append_string(entry)
    assert await loaded(DiskHistory(path)) == entries[::-1]


async def test_only_the_user_can_read_the_file(path: Path) -> None:
    DiskHistory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_repetitions_empty_lines_and_lines_that_begin_with_a_space_are_not_stored(path: Path) -> None:
    history = DiskHistory(path)
    for entry in ["ls", "ls", " export TOKEN=x", "  ", ""]:
        history.append_string(entry)
    assert await loaded(DiskHistory(path)) == ["ls"]


async def test_the_entries_of_two_prompts_are_all_stored(path: Path) -> None:
    one, other = DiskHistory(path), DiskHistory(path)
    one.append_string("one")
    other.append_string("other")
    assert await loaded(DiskHistory(path)) == ["other", "one"]


async def test_a_history_that_cannot_be_opened_is_reported_and_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "farhand").write_text("in the way")
    history = DiskHistory(tmp_path / "farhand/history")
    assert history.problem is not None
    assert str(tmp_path / "farhand/history") in history.problem
    history.append_string("ls")
    assert await loaded(history) == ["ls"]


async def test_a_full_disk_is_reported_and_the_history_kept_in_memory(tmp_path: Path) -> None:
    full = tmp_path / "history"
    full.symlink_to("/dev/full")
    history = DiskHistory(full)
    assert history.problem is None
    history.append_string("ls")
    assert "No space left" in str(history.problem)
    history.append_string("pwd")
    assert await loaded(history) == ["pwd", "ls"]


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("echo a\u3000b", id="ideographic space"),
        pytest.param("echo a\u00a0b", id="no-break space"),
        pytest.param("\u3000ls", id="ideographic space first"),
        pytest.param("echo \U0001f469\u200d\U0001f4bb \u200b\ufeff\u2060", id="zero-width characters"),
        pytest.param("echo a\u2028b\u2029c", id="line and paragraph separators"),
        pytest.param("echo a\x85b\x0bc\x0cd\x1ce\rf", id="what str.splitlines splits at"),
        pytest.param("echo \ue0b0\U000f0001", id="private use"),
        pytest.param("echo e\u0301 \u0300", id="combining marks"),
        pytest.param("echo \u202egnp.\u2066", id="bidi controls"),
        pytest.param("printf '\x1b[2J\x07\x7f'", id="control characters"),
        pytest.param("cat \udcff\udce9.txt", id="bytes that are not UTF-8"),
        pytest.param("echo \U0010ffff\uffff\u0378", id="unassigned"),
        pytest.param("echo \\\\n \\n \\", id="backslashes"),
        pytest.param("for x in a b\ndo\n\techo $x\\n\n\n done\n", id="several lines"),
    ],
)
async def test_what_a_line_consists_of_does_not_matter(path: Path, entry: str) -> None:
    DiskHistory(path).append_string("before")
    history = DiskHistory(path)
    history.append_string(entry)
    history.append_string("after")
    assert await loaded(history) == ["after", entry, "before"]
    again = DiskHistory(path)
    assert await loaded(again) == ["after", entry, "before"]
    assert again.problem is None


@given(
    lists(
        binary(min_size=1).map(decode)
        | text("\\n \n\t\r\x1b\x85\u2028\u3000\udcff\udc80é日\u200d", min_size=1)
        | text(min_size=1).filter(lambda entry: not any("\ud800" <= char <= "\udfff" for char in entry)),
        max_size=5,
    )
)
@settings(deadline=None)
def test_all_entries_that_are_stored_are_recalled_byte_for_byte(entries: list[str]) -> None:
    with TemporaryDirectory() as directory:
        first = DiskHistory(Path(directory, "history"))
        for entry in entries:
            first.append_string(entry)
        kept: list[str] = []
        for entry in entries:
            if entry.strip(" \t\n") and entry[0] != " " and kept[-1:] != [entry]:
                kept.append(entry)
        recalled = asyncio.run(loaded(DiskHistory(Path(directory, "history"))))
    assert [encode(entry) for entry in reversed(recalled)] == [encode(entry) for entry in kept if "\0" not in entry]


async def test_damaged_lines_are_skipped_and_reported(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"good\n\0\0\0\0\n\0\0cut\nfine\n")
    history = DiskHistory(path)
    assert await loaded(history) == ["fine", "good"]
    assert str(history.problem).startswith("skipped 2 lines ")


async def test_a_line_that_no_command_can_be_is_recalled_here_but_not_stored(path: Path) -> None:
    history = DiskHistory(path)
    history.append_string("echo \0")
    assert await loaded(history) == ["echo \0"]
    assert path.read_bytes() == b""


async def test_an_entry_of_which_only_a_part_can_be_written_is_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = DiskHistory(path)
    monkeypatch.setattr(os, "write", lambda fd, data: len(data) - 1)
    history.append_string("ls")
    assert "No space left" in str(history.problem)


async def test_only_the_end_of_a_long_history_is_read_and_a_longer_one_is_cut_down(path: Path) -> None:
    path.parent.mkdir()
    count = MAX_HISTORY_FILE // 10 + 1
    path.write_bytes(b"".join(b"%9d\n" % number for number in range(count)))
    history = DiskHistory(path)
    entries = await loaded(history)
    assert entries[0].strip() == str(count - 1)
    assert len(entries) <= MAX_LOADED // 10
    assert path.stat().st_size <= MAX_LOADED
    history.append_string("after")
    assert (await loaded(DiskHistory(path)))[:2] == ["after", entries[0]]
    assert [file.name for file in path.parent.iterdir()] == ["history"]


async def test_entries_of_other_prompts_appear_at_the_next_prompt(path: Path) -> None:
    one, other = DiskHistory(path), DiskHistory(path)
    assert await loaded(one) == await loaded(other) == []
    one.append_string("one")
    other.append_string("other")
    one.append_string("again")
    assert await loaded(one) == await loaded(other) == ["again", "other", "one"]
    other.append_string("last")
    assert await loaded(other) == await loaded(one) == ["last", "again", "other", "one"]


async def test_an_entry_added_while_the_file_is_read_appears_once(path: Path) -> None:
    history = DiskHistory(path)
    history.append_string("first")
    loading = history.load()
    assert await anext(loading) == "first"
    history.append_string("second")
    await loading.aclose()
    assert await loaded(history) == ["second", "first"]


async def test_a_file_that_was_replaced_or_removed_is_opened_again(path: Path) -> None:
    history = DiskHistory(path)
    history.append_string("old")
    assert await loaded(history) == ["old"]
    other = path.with_name("other")
    other.write_text("new\n")
    other.replace(path)
    assert await loaded(history) == ["new"]
    path.unlink()
    history.append_string("after")
    assert path.read_text() == "after\n"
    assert await loaded(history) == ["after"]


async def test_entries_of_the_older_file_come_first_and_that_file_is_not_written(path: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.write_text("ancient\nold\n")
    history = DiskHistory(path, older)
    history.append_string("new")
    assert await loaded(history) == ["new", "old", "ancient"]
    assert await loaded(history) == ["new", "old", "ancient"], "it was read again"
    assert (path.read_text(), older.read_text()) == ("new\n", "ancient\nold\n")


async def test_a_read_only_history_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.write_text("kept\n")
    opening = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opening(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    history = DiskHistory(path)
    assert "cannot be written: Permission denied" in str(history.problem)
    history.append_string("here")
    assert await loaded(history) == ["here", "kept"]
    assert await loaded(history) == ["here", "kept"]
    assert path.read_text() == "kept\n"


async def test_a_newline_is_added_to_a_last_line_without_one(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("cut off")
    history = DiskHistory(path)
    assert await loaded(history) == ["cut off"]
    history.append_string("next")
    assert await loaded(history) == ["next", "cut off"]
    assert path.read_text() == "cut off\nnext\n"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("ada@web.example.net", "ada@web.example.net"),
        ("ada@[::1]:7023", "ada@%5B::1%5D:7023"),
        ("unix:/run/a b", "unix:%2Frun%2Fa%20b"),
        ("..", "%2E."),
        ("é", "%C3%A9"),
    ],
)
def test_each_host_has_a_file_of_its_own(host: str, name: str) -> None:
    assert history_file(Path("/s"), host) == Path("/s/histories", name)


def test_hosts_with_long_names_have_different_files() -> None:
    one, other = history_file(Path(), "/" * 100 + "a"), history_file(Path(), "/" * 100 + "b")
    assert one != other
    assert len(one.name) < 255
