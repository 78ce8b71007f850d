"""A socket never replaces another file, and replaces a socket only if no process listens on it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials
from farhand_server.listen.unix import (
    ListenError,
    PathTaken,
    SocketAccess,
    UnixListener,
    bind_unix,
)
from tests.support.acting import acting_as
from tests.support.unix_listeners import accepting, mode, served


def test_a_socket_is_created_with_its_directories_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "run/farhand/s"
    with bind_unix(path, SocketAccess(0o666)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind_unix(path, SocketAccess(0o600)).close()
    with bind_unix(path, SocketAccess(0o600)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_that_is_listened_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind_unix(path, SocketAccess(0o600)):
        with pytest.raises(ListenError, match="a service is already listening there"):
            bind_unix(path, SocketAccess(0o600))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


@pytest.mark.needs("root")
def test_a_socket_of_another_account_is_left_alone() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # a test's own directory is closed to other accounts
        path = Path(directory, "s")
        path.parent.chmod(0o777)
        with (
            bind_unix(path, SocketAccess(0o600)),
            acting_as(Credentials("x", 12345, 12345, (12345,))),
            pytest.raises(PathTaken, match="a socket of another account exists there; remove it if no service uses"),
        ):
            bind_unix(path, SocketAccess(0o600))
        assert path.is_socket()


def test_a_socket_that_is_replaced_by_a_link_gives_nobody_access_to_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, precious = tmp_path / "s", tmp_path / "precious"
    precious.touch(0o600)

    class Replaced(socket.socket):
        def bind(self, address: object) -> None:
            super().bind(str(address))
            path.unlink()
            path.symlink_to(precious)

    monkeypatch.setattr(socket, "socket", Replaced)
    with pytest.raises(ListenError, match=f"cannot listen on {path}: "):
        bind_unix(path, SocketAccess(0o666))
    assert mode(precious) == 0o600


def test_a_service_that_accepts_nobody_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(path))
        other.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))

        class Impatient(socket.socket):
            def connect(self, address: object) -> None:
                assert self.gettimeout() == 0, "this would wait for the other service"
                super().connect(str(address))

        stack.enter_context(pytest.MonkeyPatch.context()).setattr(socket, "socket", Impatient)
        with pytest.raises(PathTaken, match="already listening"):
            bind_unix(path, SocketAccess(0o600))


def test_a_file_that_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(ListenError, match="a file that is not a socket"):
        bind_unix(path, SocketAccess(0o600))
    assert path.is_symlink()


@pytest.mark.parametrize(
    ("place", "reason"),
    [("x" * 200, "too long"), ("a-file/below/s", "Not a directory")],
)
def test_a_path_that_cannot_be_listened_on_is_an_error(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(ListenError, match=rf"cannot listen on .*: .*{reason}"):
        bind_unix(tmp_path / place, SocketAccess(0o600))


async def test_a_paused_listener_leaves_clients_in_the_backlog_until_it_is_opened(tmp_path: Path) -> None:
    connections: list[asyncio.BaseTransport] = []
    listener = UnixListener(tmp_path / "s", accepting(connections))
    with socket.socket(socket.AF_UNIX) as early, socket.socket(socket.AF_UNIX) as late:
        early.connect(str(listener.path))
        await listener.open()
        await listener.open()
        assert await served(early)
        listener.pause()
        late.connect(str(listener.path))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(connections) == 1
        await listener.open()
        assert await served(late)
    listener.close()


async def test_a_listener_continues_with_the_socket_of_another(tmp_path: Path) -> None:
    connections: list[asyncio.BaseTransport] = []
    first = UnixListener(tmp_path / "s", accepting([]))
    second = UnixListener(tmp_path / "elsewhere", accepting(connections), os.dup(first.fileno()))
    assert second.path == tmp_path / "s"
    await second.open()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        assert await served(client)
    second.close()
    first.close()
    assert len(connections) == 2, "the first one was made to learn whether the path leads to this process"


async def test_a_withdrawn_listener_makes_room_for_another_service_and_accepts_who_has_connected(
    tmp_path: Path,
) -> None:
    connections: list[asyncio.BaseTransport] = []
    listener = UnixListener(tmp_path / "s", accepting(connections))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        listener.withdraw()
        with bind_unix(tmp_path / "s", SocketAccess(0o600)):
            await listener.open()
            assert await served(client)
            listener.withdraw()
            listener.close()
            assert (tmp_path / "s").exists()


async def test_a_closed_listener_leaves_the_socket_of_the_next_service_alone(tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "s", accepting([]))
    await listener.open()
    listener.close()
    assert not (tmp_path / "s").exists()
    with bind_unix(tmp_path / "s", SocketAccess(0o600)):
        listener.close()
        assert (tmp_path / "s").exists()


async def test_a_listener_continues_with_a_socket_whose_file_was_removed(tmp_path: Path) -> None:
    first = UnixListener(tmp_path / "s", accepting([]))
    assert first.intact
    (tmp_path / "s").unlink()
    second = UnixListener(tmp_path / "s", accepting([]), os.dup(first.fileno()))
    assert (first.intact, second.intact) == (False, False)
    await second.restore()
    third = UnixListener(tmp_path / "s", accepting([]), os.dup(second.fileno()))
    assert (first.intact, second.intact, third.intact) == (False, True, True)
    for listener in (third, second, first):
        listener.close()


async def test_a_full_backlog_belongs_to_the_socket_that_is_continued(tmp_path: Path) -> None:
    first = UnixListener(tmp_path / "s", accepting([]))
    with contextlib.ExitStack() as stack:
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            try:
                client.connect(str(first.path))
            except BlockingIOError:
                break
        second = UnixListener(tmp_path / "s", accepting([]), os.dup(first.fileno()))
        assert second.intact
    second.close()
    first.close()


@pytest.mark.parametrize("opened", [True, False], ids=["open", "paused"])
async def test_a_removed_socket_is_made_again_with_its_directories_and_their_modes(
    tmp_path: Path, opened: bool
) -> None:
    path = tmp_path / "run/farhand/s"
    path.parent.mkdir(parents=True)
    (tmp_path / "run").chmod(0o710)
    path.parent.chmod(0o755)
    connections: list[asyncio.BaseTransport] = []
    listener = UnixListener(path, accepting(connections))
    if opened:
        await listener.open()
    shutil.rmtree(tmp_path / "run")
    before = os.umask(0o077)
    try:
        await listener.restore()
    finally:
        os.umask(before)
    assert listener.intact
    assert [mode(tmp_path / "run"), mode(path.parent), mode(path)] == [0o710, 0o755, 0o666]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        await listener.open()
        assert await served(client)
    listener.close()
    assert not path.exists()


@pytest.mark.needs("root")
async def test_a_directory_is_given_to_its_former_owner_again(tmp_path: Path) -> None:
    path = tmp_path / "run/s"
    path.parent.mkdir()
    os.chown(path.parent, 12345, 23456)
    listener = UnixListener(path, accepting([]))
    shutil.rmtree(path.parent)
    await listener.restore()
    assert (path.parent.stat().st_uid, path.parent.stat().st_gid) == (12345, 23456)
    listener.close()


async def test_a_directory_that_is_replaced_by_a_link_changes_no_other_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, precious = tmp_path / "run/s", tmp_path / "precious"
    path.parent.mkdir()
    path.parent.chmod(0o755)
    listener = UnixListener(path, accepting([]))
    shutil.rmtree(path.parent)
    precious.mkdir(0o700)
    make = Path.mkdir

    def make_and_replace(directory: Path, mode: int) -> None:
        make(directory, mode)
        directory.rmdir()
        directory.symlink_to(precious)

    monkeypatch.setattr(Path, "mkdir", make_and_replace)
    with pytest.raises(ListenError, match=f"{path.parent}: "):
        await listener.restore()
    assert mode(precious) == 0o700
    assert list(precious.iterdir()) == []
    listener.close()


@pytest.mark.needs("root")
async def test_no_socket_is_made_in_a_directory_that_now_belongs_to_a_stranger(tmp_path: Path) -> None:
    path = tmp_path / "run/s"
    listener = UnixListener(path, accepting([]))
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    os.chown(path.parent, 12345, 12345)
    with pytest.raises(ListenError, match=r"its directory now belongs to uid 12345, .* remove the directory"):
        await listener.restore()
    assert list(path.parent.iterdir()) == []
    listener.close()


async def test_a_directory_that_cannot_be_made_again_is_named(tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "run/farhand/s", accepting([]))
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").touch()
    with pytest.raises(
        ListenError, match=r"again: \S*/run/farhand: Not a directory; make the directory \S*/run/farhand, as this"
    ):
        await listener.restore()
    listener.close()


async def test_the_socket_of_a_service_that_has_taken_the_path_is_left_alone(tmp_path: Path) -> None:
    listener = UnixListener(tmp_path / "s", accepting([]))
    (tmp_path / "s").unlink()
    with bind_unix(tmp_path / "s", SocketAccess(0o600)) as other:
        assert not listener.intact
        with pytest.raises(PathTaken, match=r"already listening there; when it has ended .* reload this one"):
            await listener.restore()
        listener.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            other.accept()[0].close()


async def test_without_a_descriptor_the_next_attempt_makes_the_socket_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = UnixListener(tmp_path / "s", accepting([]))
    await listener.open()
    (tmp_path / "s").unlink()

    def fail(self: socket.socket, backlog: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "listen", fail)
        with pytest.raises(ListenError, match=r"cannot listen on \S*: Too many open files$"):
            await listener.restore()
    intact = [listener.intact]
    await listener.restore()
    assert [*intact, listener.intact] == [False, True]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        assert await served(client)
    listener.close()


async def test_a_connection_goes_on_when_its_socket_is_made_again(tmp_path: Path) -> None:
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Once(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            received.set_result(data)

    listener = UnixListener(tmp_path / "s", lambda sock, uid, serve: serve(sock, Once()))
    await listener.open()
    _, writer = await asyncio.open_unix_connection(tmp_path / "s")
    (tmp_path / "s").unlink()
    await listener.restore()
    writer.write(b"still there")
    async with asyncio.timeout(20):
        assert await received == b"still there"
    writer.close()
    listener.close()
