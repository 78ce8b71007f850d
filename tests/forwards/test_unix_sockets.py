"""A socket is made where it was meant to be, and what killed processes leave behind is removed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from farhand_forwards import unix_sockets
from farhand_forwards.unix_sockets import LEFT_AGE, OWN_DIRECTORY, UnixPlace, remove_left_sockets


def opened(directory: Path) -> int:
    return os.open(directory, os.O_PATH | os.O_DIRECTORY)


def test_a_socket_is_made_and_removed_in_the_directory_that_was_opened(tmp_path: Path) -> None:
    for name in ("meant", "other"):
        (tmp_path / name).mkdir()
    place = UnixPlace(os.fsencode(tmp_path / "meant" / "s"), opened(tmp_path / "meant"))
    (tmp_path / "meant").rename(tmp_path / "moved")
    (tmp_path / "meant").symlink_to(tmp_path / "other")
    with place.bind(), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(tmp_path / "moved" / "s"))
    assert not list((tmp_path / "other").iterdir())
    place.close()
    assert not list((tmp_path / "moved").iterdir())


def test_a_directory_is_closed_once(tmp_path: Path) -> None:
    descriptor = opened(tmp_path)
    (tmp_path / "s").write_text("mine")
    place = UnixPlace(os.fsencode(tmp_path / "s"), descriptor)
    with pytest.raises(OSError, match="a file that is not a socket"):
        place.bind()
    place.close()
    place.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert (tmp_path / "s").read_text() == "mine"


def test_what_a_killed_process_has_left_behind_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    left, living, young = (UnixPlace.in_own_directory() for _ in range(3))
    for place in (left, young):
        place.bind().close()  # as the kernel does
    directories = [Path(os.fsdecode(each.path)).parent for each in (left, living, young)]
    with living.bind():
        for directory in directories[:2]:
            os.utime(directory, (0, directory.stat().st_mtime - LEFT_AGE))
        next_one = UnixPlace.in_own_directory()
        assert [each.exists() for each in directories] == [False, True, True]
    for place in (living, young, next_one):
        place.close()
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_sockets, "LEFT_AGE", -60.0)
    full = tmp_path / f"{OWN_DIRECTORY}full"
    full.mkdir()
    (full / "socket").write_text("mine")
    (tmp_path / f"{OWN_DIRECTORY}file").write_text("mine")
    (tmp_path / f"{OWN_DIRECTORY}link").symlink_to(full)
    (tmp_path / "another").mkdir()
    before = sorted(tmp_path.rglob("*"))
    remove_left_sockets(os.fspath(tmp_path))
    remove_left_sockets(os.fspath(tmp_path / "none"))
    assert sorted(tmp_path.rglob("*")) == before
    full_of_others = os.fspath(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    (full / "socket").unlink()
    remove_left_sockets(full_of_others)
    assert full.exists()
