"""A file with keys is read only if nobody else could have written it, and arrives in memory that cannot change."""

from __future__ import annotations

import errno
import os
import pickle
import socket
from pathlib import Path

import pytest

from farhand_server.worker.keyfile import (
    FileIdentity,
    KeyFileError,
    KeyFileUnavailable,
    answer_key_file,
    contents,
    may_have_written,
    open_key_file,
    read_key_file,
)
from farhand_server.worker.messages import KeyFileRead, ReadKeyFile

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


def question(path: Path, home: Path, known: tuple[int, ...] = ()) -> ReadKeyFile:
    return ReadKeyFile(bytes(path), bytes(home), UID, 100, known, 1)


def test_the_contents_are_in_a_file_that_nobody_can_change(file: Path, home: Path) -> None:
    answer, fd = answer_key_file(question(file, home))
    assert answer == KeyFileRead(1, b"", b"", 1, tuple(FileIdentity.of(file.stat())))
    assert fd is not None
    assert contents(fd, 7) == b"content"
    with pytest.raises(OSError, match="another file"):
        contents(fd, 6)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    os.close(fd)
    assert answer_key_file(question(file, home, answer.identity)) == (answer, None)


def test_any_other_file_is_not_read(file: Path) -> None:
    with open(file, "rb") as other, pytest.raises(OSError):  # noqa: PT011, PTH123  # EINVAL, or our own
        contents(other.fileno(), 100)
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    with pytest.raises(OSError, match="another file"):
        contents(fd, 100)
    os.close(fd)


def test_a_missing_file_and_one_that_must_not_be_used_have_no_contents(file: Path, home: Path) -> None:
    assert answer_key_file(question(home / "gone", home)) == (KeyFileRead(0, b"", b"", 0, ()), None)
    file.chmod(0o666)
    problem = f"{file}: is writable by others (mode 0666); run: chmod go-w {file}"
    assert answer_key_file(question(file, home)) == (KeyFileRead(0, problem.encode(), b"", 0, ()), None)


@pytest.mark.needs("root")
def test_files_that_the_user_could_have_written_are_recognised(tmp_path: Path) -> None:
    for name in ("etc", "home", "home/own"):
        (tmp_path / name).mkdir()
    for path in ("etc/keys", "home/keys", "home/own/keys"):
        (tmp_path / path).write_text("")
    (tmp_path / "home/link").symlink_to(tmp_path / "etc/keys")
    for path in ("home/own", "home/link"):
        os.chown(tmp_path / path, 1000, 1000, follow_symlinks=False)
    written = {
        path
        for path in ("etc/keys", "home/keys", "home/own/keys", "home/link", "gone")
        if may_have_written(tmp_path / path, 1000)
    }
    assert written == {"home/own/keys", "home/link", "gone"}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_the_service_lacks_is_not_the_files_fault(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch, code: int, own: bool
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(KeyFileUnavailable) as caught:
        open_key_file(file, uid=UID, home=home, max_size=100, own=own)
    assert (str(caught.value), caught.value.why) == (f"{file}: cannot be read: {os.strerror(code)}", os.strerror(code))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    answer, _ = answer_key_file(question(file, home))
    assert (answer.problem, answer.fault) == (f"{file}: cannot be read".encode(), os.strerror(code).encode())


def test_a_file_that_its_user_cannot_read_is_the_users_fault_and_one_of_the_service_is_not(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(KeyFileUnavailable):
        open_key_file(file, uid=UID, home=home, max_size=100)
    with pytest.raises(KeyFileError) as caught:
        open_key_file(file, uid=UID, home=home, max_size=100, own=False)
    assert not isinstance(caught.value, KeyFileUnavailable)
