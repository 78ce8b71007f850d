"""The kernel and the listener decide who may connect to a Unix socket, before anything is kept for a connection."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from pathlib import Path

import pytest

from farhand_server.credentials import Credentials
from farhand_server.listen.unix import (
    OPEN_TO_ALL,
    SOCKET_BUFFER,
    Serve,
    SocketAccess,
    UnixListener,
    enlarge_buffer,
    only,
    socket_peer_uid,
)
from tests.support.acting import acting_as
from tests.support.unix_listeners import accepting, mode, served


async def test_the_kernel_names_the_peer_and_gives_it_a_larger_buffer(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    before = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    enlarge_buffer(transport)
    largest = min(SOCKET_BUFFER, int(Path("/proc/sys/net/core/wmem_max").read_text()))
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * largest >= before  # doubled, socket(7)
    assert socket_peer_uid(ours) == os.geteuid()
    transport.close()
    theirs.close()


@pytest.mark.needs("root")
async def test_a_socket_for_one_account_is_closed_to_all_others_by_the_kernel(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "s")
        listener = UnixListener(path, accepting([]), access=only(12345))
        await listener.open()
        allowed, denied = (Credentials("x", uid, uid, (uid,)) for uid in (12345, 54321))

        def connects(who: Credentials) -> bool:
            with acting_as(who), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
                return client.connect_ex(str(path)) == 0

        assert [connects(allowed), connects(denied)] == [True, False]
        path.unlink()
        await listener.restore()
        assert [connects(allowed), connects(denied)] == [True, False]
        path.chmod(0o666)  # as a program before an upgrade has left it
        after = UnixListener(path, accepting([]), os.dup(listener.fileno()), access=only(12345))
        assert (mode(path), path.stat().st_uid) == (0o600, 12345)
        after.set_access(only(54321))
        assert [connects(allowed), connects(denied)] == [False, True]
        after.close()
        listener.close()


def test_a_socket_for_the_services_own_account_needs_no_other_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(os.geteuid()) == SocketAccess(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert (only(1000), only(1001)) == (SocketAccess(0o600), OPEN_TO_ALL)


async def test_the_listener_lets_the_peers_account_be_judged(tmp_path: Path) -> None:
    judged: list[int] = []

    def refuse(sock: socket.socket, uid: int, serve: Serve) -> None:
        judged.append(uid)
        sock.close()

    listener = UnixListener(tmp_path / "s", refuse)
    await listener.open()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        assert await served(client)
    assert judged == [os.geteuid()]
    listener.close()
