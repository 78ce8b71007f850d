"""A socket is bound where nothing else is, and replaced only if nobody listens on it."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from farhand_server.listen.unix import ListenError, bind_unix


def test_a_socket_is_created_with_its_directories_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "run/farhand/s"
    with bind_unix(path, 0o666):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind_unix(path, 0o600).close()
    with bind_unix(path, 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_that_is_listened_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(path, 0o600):
        with pytest.raises(ListenError, match="a service is listening there already"):
            bind_unix(path, 0o600)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_file_that_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(ListenError, match="something that is not a socket"):
        bind_unix(path, 0o600)
    assert path.is_symlink()


@pytest.mark.parametrize(
    ("place", "reason"),
    [("x" * 200, "too long"), ("a-file/below/s", "Not a directory")],
)
def test_a_path_that_cannot_be_listened_on_is_an_error(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(ListenError, match=rf"cannot listen on .*: .*{reason}"):
        bind_unix(tmp_path / place, 0o600)
