"""Listeners: where they listen, what they replace, and what they outlive."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from farhand_forwards import listening
from farhand_forwards.accepting import Connected
from farhand_forwards.listening import StreamListener, listen_at
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget


class Accepting:
    """Accepts connections and holds them until it is told to end them."""

    def __init__(self) -> None:
        self.origins: list[str] = []
        self.arrived = asyncio.Event()
        self.end = asyncio.Event()

    async def __call__(self, connected: Connected, origin: str) -> None:
        assert isinstance(connected, socket.socket)
        assert not connected.getblocking()
        self.origins.append(origin)
        self.arrived.set()
        await self.end.wait()

    async def count(self, number: int) -> None:
        async with asyncio.timeout(20):
            while len(self.origins) < number:
                self.arrived.clear()
                await self.arrived.wait()


async def listener_at(where: ForwardTarget, accepting: Accepting) -> StreamListener:
    made = await listen_at(where, accepting)
    assert isinstance(made, StreamListener)
    return made


def inet(listener: StreamListener) -> InetTarget:
    assert isinstance(listener.address, InetTarget)
    return listener.address


def unix(listener: StreamListener) -> Path:
    assert isinstance(listener.address, UnixTarget)
    return Path(os.fsdecode(listener.address.path))


async def test_a_listener_is_on_the_loopback_addresses_of_both_families_with_one_port() -> None:
    accepting = Accepting()
    listener = await listener_at(InetTarget("", 0), accepting)
    port = inet(listener).port
    assert port > 0
    assert [each.host for each in listener.addresses if isinstance(each, InetTarget)] == ["127.0.0.1", "::1"]
    with socket.create_connection(("127.0.0.1", port)) as v4, socket.create_connection(("::1", port)) as v6:
        await accepting.count(2)
        assert sorted(accepting.origins) == [
            f"127.0.0.1:{v4.getsockname()[1]}",
            f"[::1]:{v6.getsockname()[1]}",
        ]
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        v4.setblocking(False)
        with pytest.raises(BlockingIOError):  # connections that were accepted go on
            v4.recv(1)
        accepting.end.set()


async def test_a_star_means_all_addresses_and_a_name_its_own() -> None:
    accepting = Accepting()
    everywhere = await listener_at(InetTarget("*", 0), accepting)
    assert [each.host for each in everywhere.addresses if isinstance(each, InetTarget)] == ["0.0.0.0", "::"]
    named = await listener_at(InetTarget("127.0.0.2", 0), accepting)
    assert inet(named).host == "127.0.0.2"
    for listener in (everywhere, named):
        listener.close()


@pytest.mark.parametrize("host", ["", "127.0.0.1", "localhost", "*"])
async def test_a_busy_port_is_refused_at_once(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ForwardRefused, match="another program listens there") as refused:
            await listen_at(InetTarget(host, port), Accepting())
        assert refused.value.cause == "busy"
    assert not await still_bound(port)


async def still_bound(port: int) -> bool:
    listener = await listener_at(InetTarget("", port), Accepting())
    listener.close()
    return False


async def test_a_machine_without_ipv6_listens_on_ipv4_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = listening._bind  # noqa: SLF001  # no machine of the tests lacks IPv6

    def without_ipv6(family: socket.AddressFamily, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return bind(family, *rest)

    monkeypatch.setattr(listening, "_bind", without_ipv6)
    listener = await listener_at(InetTarget("", 0), Accepting())
    assert [each.host for each in listener.addresses if isinstance(each, InetTarget)] == ["127.0.0.1"]
    listener.close()


@pytest.mark.parametrize(
    ("host", "cause"), [("192.0.2.1", "failed"), ("no-such-host.invalid", "unresolved"), ("x" * 80, "unresolved")]
)
async def test_an_address_of_another_machine_is_refused(host: str, cause: str) -> None:
    with pytest.raises(ForwardRefused, match="cannot listen on") as refused:
        await listen_at(InetTarget(host, 0), Accepting())
    assert refused.value.cause == cause


async def test_a_unix_socket_is_only_for_its_user_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    old_mask = os.umask(0)
    accepting = Accepting()
    try:
        listener = await listener_at(UnixTarget(os.fsencode(path)), accepting)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        await accepting.count(1)
        listener.close()
    assert not path.exists()
    accepting.end.set()


async def test_a_dead_socket_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    where = UnixTarget(os.fsencode(path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    listener = await listener_at(where, Accepting())
    with pytest.raises(ForwardRefused, match="another program listens there") as refused:
        await listen_at(where, Accepting())
    assert refused.value.cause == "busy"
    path.unlink()
    path.write_text("mine")
    with pytest.raises(ForwardRefused, match="a file that is not a socket exists there"):
        await listen_at(where, Accepting())
    listener.close()
    assert path.read_text() == "mine"  # the listener's own is gone, and this is not it
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ForwardRefused, match="a file that is not a socket"):
        await listen_at(where, Accepting())


async def test_an_empty_path_means_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    listener = await listener_at(UnixTarget(b""), Accepting())
    path = unix(listener)
    assert path.parent.parent == tmp_path
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    listener.close()
    assert not path.parent.exists()
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path / "gone"))
    listener = await listener_at(UnixTarget(b""), Accepting())
    assert unix(listener).parent.parent == Path("/tmp")  # where it must be
    listener.close()


async def test_a_relative_path_begins_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    listener = await listener_at(UnixTarget(b"s"), Accepting())
    assert unix(listener) == tmp_path / "s"
    listener.close()


@pytest.mark.parametrize(("path", "what"), [("no/such/directory/s", "No such file"), ("x" * 104, "the path has")])
async def test_a_path_that_cannot_be_is_refused(tmp_path: Path, path: str, what: str) -> None:
    with pytest.raises(ForwardRefused, match=what):
        await listen_at(UnixTarget(os.fsencode(tmp_path / path)), Accepting())


async def test_a_listener_outlives_a_shortage_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "EXHAUSTED_DELAY", 0.05)
    accepting = Accepting()
    listener = await listener_at(InetTarget("127.0.0.1", 0), accepting)
    address = (inet(listener).host, inet(listener).port)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.create_connection(address)]
    await accepting.count(1)
    highest = max(map(int, os.listdir("/proc/self/fd"))) + 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        held = []
        clients.append(socket.socket())
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            pass
        clients[1].connect(address)
        for _ in range(20):  # it does not spin, nor fail
            await asyncio.sleep(0.01)
        assert len(accepting.origins) == 1
        for each in held:
            os.close(each)
        await accepting.count(2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for client in clients:
        client.close()
    listener.close()
    accepting.end.set()


async def test_no_more_connections_are_accepted_than_allowed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_ACCEPTED", 2)
    accepting = Accepting()
    listener = await listener_at(InetTarget("127.0.0.1", 0), accepting)
    clients = [socket.create_connection((inet(listener).host, inet(listener).port)) for _ in range(3)]
    await accepting.count(2)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(accepting.origins) == 2
    accepting.end.set()
    await accepting.count(3)
    for client in clients:
        client.close()
    listener.close()
