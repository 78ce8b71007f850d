"""A file that changes while it is read is noticed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from farhand_files.reading import Changed
from tests.support.read_files import CHUNK, LONG_AGO, assembled, made, opened, random_bytes


def test_a_file_at_rest_is_told_from_one_that_was_changed(tmp_path: Path) -> None:
    path = made(tmp_path / "f", b"old content")
    with opened(path) as content:
        assembled(content)
        made(path, b"new content", LONG_AGO + 1)
        with pytest.raises(Changed):
            content.settle()


def test_a_change_whose_time_was_set_back_is_noticed(tmp_path: Path) -> None:
    path = made(tmp_path / "f", b"old content")
    with opened(path) as content:
        assembled(content)
        made(path, b"new content")
        with pytest.raises(Changed):
            content.settle()


def test_a_file_that_got_another_name_or_mode_is_what_it_was(tmp_path: Path) -> None:
    path = made(tmp_path / "f", b"content")
    with opened(path) as content:
        assembled(content)
        os.link(path, tmp_path / "g")
        path.chmod(0o600)
        assert content.settle()


def test_a_file_that_was_only_touched_is_what_it_was(tmp_path: Path) -> None:
    path = made(tmp_path / "f", b"content")
    with opened(path) as content:
        assembled(content)
        os.utime(path, ns=(5, 5))
        assert content.settle()
        assert content.mtime == 5


def test_a_change_within_one_tick_of_the_clock_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old content")
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    with opened(path) as content:
        assembled(content)
        path.write_bytes(b"new content")
        os.utime(path, ns=(now, now))  # as a file system with coarse times would leave it
        with pytest.raises(Changed):
            content.settle()


def test_a_log_that_grows_is_sent_as_it_was_when_opened(tmp_path: Path) -> None:
    path = made(tmp_path / "log", b"line 1\n")
    with opened(path) as content:
        parts = content.parts()
        with path.open("ab") as log:
            log.write(b"line 2\n")
        assert b"".join(bytes(part.data or b"") for part in parts) == b"line 1\n"
        assert content.settle() is False
        assert (content.size, content.mtime) == (7, LONG_AGO)


def test_a_file_that_grows_and_changes_is_not_sent_as_a_mixture(tmp_path: Path) -> None:
    path = made(tmp_path / "log", b"line 1\n")
    with opened(path) as content:
        assembled(content)
        path.write_bytes(b"line x\nline 2\n")
        with pytest.raises(Changed):
            content.settle()


@pytest.mark.parametrize("size", [100, 6 * CHUNK])
def test_a_file_that_is_truncated_meanwhile_is_changed(tmp_path: Path, size: int) -> None:
    path = made(tmp_path / "f", random_bytes(size))
    with opened(path) as content:
        parts = content.parts()
        os.truncate(path, 10)
        with pytest.raises(Changed):
            for _ in parts:
                pass
    path = made(path, random_bytes(size))
    with opened(path) as content:
        assembled(content)
        os.truncate(path, 10)
        with pytest.raises(Changed):
            content.settle()


def test_a_file_that_was_replaced_is_sent_as_it_was(tmp_path: Path) -> None:
    path = made(tmp_path / "f", b"old")
    with opened(path) as content:
        made(tmp_path / "new", b"new").rename(path)
        assert assembled(content)[0] == b"old"
        assert content.settle()


@pytest.mark.parametrize("known", [True, False])
def test_files_of_proc_are_read_to_their_end(known: bool) -> None:
    with opened(Path("/proc/version"), known_size=known) as content:
        assert assembled(content)[0] == Path("/proc/version").read_bytes()
        assert content.settle()
        assert content.size == len(Path("/proc/version").read_bytes())


def test_an_empty_file_that_is_filled_meanwhile_is_changed(tmp_path: Path) -> None:
    path = made(tmp_path / "f", b"")
    with opened(path) as content:
        parts = content.parts()
        path.write_bytes(b"x")
        with pytest.raises(Changed):
            list(parts)
