import contextlib
import errno
import os
import pickle
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from farhand_server.auth.keyfile import KeyFileError, KeyFileUnavailable, read_key_file
from farhand_server.credentials import Credentials
from tests.support.processes import fields

UID = os.getuid()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    (directory / ".config").mkdir(parents=True)
    for path in (directory, directory / ".config"):
        path.chmod(0o755)
    return directory


@pytest.fixture
def file(home: Path) -> Path:
    path = home / ".config" / "authorized_keys"
    path.write_bytes(b"content")
    path.chmod(0o644)
    return path


def read(path: Path, home: Path, *, uid: int = UID, max_size: int = 100) -> bytes | None:
    return read_key_file(path, uid=uid, home=home, max_size=max_size)


def test_a_file_that_only_its_owner_can_write_is_read(file: Path, home: Path) -> None:
    assert read(file, home) == b"content"


def test_a_missing_file_is_none(home: Path) -> None:
    assert read(home / "nothing", home) is None
    assert read(home / "no" / "directory", home) is None


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused_with_a_command_that_fixes_it(
    file: Path, home: Path, mode: int
) -> None:
    file.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"writable by others \(mode 0{mode:o}\); run: chmod go-w {file}"):
        read(file, home)


@pytest.mark.parametrize("mode", [0o775, 0o757])
@pytest.mark.parametrize("below", [".", ".config"])
def test_a_directory_that_others_can_write_is_refused_up_to_the_home(
    file: Path, home: Path, below: str, mode: int
) -> None:
    (home / below).chmod(mode)
    with pytest.raises(KeyFileError, match=f"{home / below}: is writable by others"):
        read(file, home)


def test_directories_above_the_home_are_not_checked(file: Path, home: Path) -> None:
    home.parent.chmod(0o777)
    assert read(file, home) == b"content"


def test_outside_the_home_every_directory_is_checked(file: Path, home: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(KeyFileError, match=f"{tmp_path}: is writable by others"):
        read(file, tmp_path / "elsewhere")


def test_a_sticky_directory_may_be_writable_by_everybody(file: Path, home: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert read(file, tmp_path / "elsewhere") == b"content"


def test_a_sticky_file_may_not_be_writable_by_others(file: Path, home: Path) -> None:
    file.chmod(0o1666)
    with pytest.raises(KeyFileError, match="writable by others"):
        read(file, home)


def test_a_file_of_another_user_is_refused(file: Path, home: Path) -> None:
    if UID == 0:  # root's files are trusted, so the file has to be given away
        os.chown(file, 4242, -1)
    with pytest.raises(KeyFileError, match="belongs to user"):
        read(file, home, uid=UID + 1)


def test_a_link_is_checked_by_its_target(file: Path, home: Path, tmp_path: Path) -> None:
    link = home / "link"
    link.symlink_to(file)
    assert read(link, home) == b"content"
    public = tmp_path / "public"
    public.mkdir()
    (public / "keys").write_bytes(b"anybody's")
    public.chmod(0o777)
    link.unlink()
    link.symlink_to(public / "keys")
    with pytest.raises(KeyFileError, match=f"{public}: is writable by others"):
        read(link, home)


def test_a_fifo_is_refused_without_blocking(home: Path) -> None:
    os.mkfifo(home / "fifo", 0o600)
    with pytest.raises(KeyFileError, match="is not a regular file"):
        read(home / "fifo", home)


def test_a_directory_and_a_socket_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError, match="is not a regular file"):
        read(home / ".config", home)
    monkeypatch.chdir(home)  # a socket's path is limited to 107 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(KeyFileError, match="cannot be opened"):
            read(home / "socket", home)


def test_a_file_above_the_maximum_size_is_refused(file: Path, home: Path) -> None:
    assert read(file, home, max_size=7) == b"content"
    with pytest.raises(KeyFileError, match="is longer than 6 bytes"):
        read(file, home, max_size=6)


GAMES = Credentials("games", 5, 60, (60,))


@pytest.fixture
def foreign_home() -> Iterator[Path]:
    """A home directory of the user games, for whom root can read more than the user can."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        os.chown(home, GAMES.uid, GAMES.gid)
        yield home


def read_as_games(path: Path, home: Path) -> bytes | None:
    return read_key_file(path, uid=GAMES.uid, home=home, max_size=100, reader=GAMES)


@pytest.mark.needs("root")
def test_a_users_own_file_is_read_with_the_users_rights(foreign_home: Path) -> None:
    file = foreign_home / "authorized_keys"
    file.write_bytes(b"games'")
    file.chmod(0o600)
    os.chown(file, GAMES.uid, GAMES.gid)
    assert read_as_games(file, foreign_home) == b"games'"
    assert read_as_games(foreign_home / "nothing", foreign_home) is None


@pytest.mark.needs("root")
def test_a_link_to_a_file_that_the_user_may_not_read_is_refused(foreign_home: Path) -> None:
    """Root can read it and owns it: without the user's rights it would count as the user's keys."""
    secret = Path(tempfile.mkdtemp()) / "keys"
    try:
        secret.write_bytes(b"root's")
        link = foreign_home / "authorized_keys"
        link.symlink_to(secret)
        with pytest.raises(KeyFileError, match="Permission denied"):
            read_as_games(link, foreign_home)
    finally:
        secret.unlink()
        secret.parent.rmdir()


@pytest.mark.needs("root")
@pytest.mark.parametrize("content", [None, b"x" * 101])
def test_the_services_own_rights_are_restored_after_a_refusal(foreign_home: Path, content: bytes | None) -> None:
    before = fields(Path("/proc/thread-self/status").read_text())
    file = foreign_home / "authorized_keys"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(KeyFileError):
        read_as_games(file, foreign_home)
    after = fields(Path("/proc/thread-self/status").read_text())
    assert [after[name] for name in ("Uid", "Gid", "Groups", "CapEff")] == [
        before[name] for name in ("Uid", "Gid", "Groups", "CapEff")
    ]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("reader", [None, Credentials("x", UID, os.getgid(), tuple(os.getgroups()))])
def test_what_the_service_lacks_is_not_the_files_fault(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch, code: int, reader: Credentials | None
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    if reader is not None:
        monkeypatch.setattr("farhand_server.auth.keyfile.acting_as", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(KeyFileUnavailable) as caught:
        read_key_file(file, uid=UID, home=home, max_size=100, reader=reader)
    assert (str(caught.value), caught.value.why) == (f"{file}: cannot be read: {os.strerror(code)}", os.strerror(code))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_file_that_its_user_cannot_read_is_the_users_fault_and_one_of_the_service_is_not(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("farhand_server.auth.keyfile.acting_as", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(KeyFileUnavailable):
        read_key_file(file, uid=UID, home=home, max_size=100)
    with pytest.raises(KeyFileError) as caught:
        read_key_file(file, uid=UID, home=home, max_size=100, reader=Credentials("x", 1, 1, ()))
    assert not isinstance(caught.value, KeyFileUnavailable)


def test_a_service_that_cannot_act_as_the_user_is_at_fault(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("farhand_server.auth.keyfile.acting_as", fail)
    with pytest.raises(KeyFileUnavailable, match="cannot be read as its user: Operation not permitted"):
        read_key_file(file, uid=UID, home=home, max_size=100, reader=Credentials("x", 1, 1, ()))
