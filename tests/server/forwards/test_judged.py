"""What was judged is what is connected to."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from farhand_forwards.accepting import Accepted, Connected, LocalListener
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget
from farhand_server.forwards.judged import MAX_OPENING, JudgedService
from farhand_server.forwards.records import FlowRecord
from farhand_server.forwards.rules import ForwardRules, Permission
from tests.support.processes import own_descriptors


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path.resolve()


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


@pytest.fixture
def allowed(home: Path) -> Iterator[socket.socket]:
    (home / "ok").mkdir()
    with listening(home / "ok" / "s") as sock:
        yield sock


@pytest.fixture
def secret(home: Path) -> Iterator[socket.socket]:
    with listening(home / "secret") as sock:
        yield sock


class Service:
    """A service with the records of its listeners."""

    def __init__(self, **rules: object) -> None:
        self.records: list[FlowRecord] = []
        self.judged = JudgedService(ForwardRules(**rules), self.records.append)  # type: ignore[arg-type]  # the tests name them

    async def refusal(self, target: ForwardTarget) -> ForwardRefused:
        with pytest.raises(ForwardRefused) as refused:
            (await self.judged.connect(target, "")).close()
        return refused.value

    async def listen(self, where: ForwardTarget) -> ForwardTarget:
        async def accepted(connected: Connected, origin: str) -> None:
            raise AssertionError

        listener = await self.judged.listen(where, accepted)
        listener.close()
        return listener.address


async def test_a_path_is_judged_by_where_its_links_lead(
    home: Path, allowed: socket.socket, secret: socket.socket
) -> None:
    service = Service(connect=("unix:~/ok/*",))
    (home / "ok" / "link").symlink_to(home / "secret")
    (home / "way").symlink_to(home / "ok")
    for path in (b"ok/s", b"way/s", b"./ok/../ok/s", os.fsencode(home / "ok" / "s")):
        (await service.judged.connect(UnixTarget(path), "")).close()
        allowed.accept()[0].close()
    for path in (b"ok/link", b"secret", b"ok/../secret", b"way/link"):
        refused = await service.refusal(UnixTarget(path))
        assert refused.cause == "denied"
    secret.setblocking(False)
    with pytest.raises(BlockingIOError):
        secret.accept()


async def test_a_socket_that_is_not_at_the_path_which_the_kernel_says_is_denied(
    home: Path, allowed: socket.socket
) -> None:
    service = Service(connect=("unix:~/ok/*",))
    there = os.open(home / "ok" / "s", os.O_PATH)
    try:
        path = UnixTarget(b"/proc/self/fd/%d" % there)
        (await service.judged.connect(path, "")).close()
        (home / "ok" / "s").unlink()
        for name in ("s", "s (deleted)"):  # the kernel's word for it
            with listening(home / "ok" / name):
                assert (await service.refusal(path)).cause == "denied"
        assert (await service.refusal(path)).cause == "denied"
    finally:
        os.close(there)


@pytest.mark.usefixtures("allowed")
async def test_whether_a_socket_exists_is_said_only_where_one_may_connect(home: Path) -> None:
    service = Service(connect=("unix:~/ok/*",))
    assert (await service.refusal(UnixTarget(b"ok/none"))).cause == "refused"
    assert (await service.refusal(UnixTarget(b"none"))).cause == "denied"
    (home / "ok" / "file").touch()
    refused = await service.refusal(UnixTarget(b"ok/file"))
    assert (refused.cause, "/proc" in str(refused)) == ("refused", False)


@pytest.mark.usefixtures("home")
async def test_each_address_of_a_name_is_judged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        service = Service(connect=(f"127.0.0.0/8:{port}",))
        (await service.judged.connect(InetTarget("localhost", port), "")).close()
        narrow = Service(connect=(f"[::1]:{port}", f"192.0.2.0/24:{port}"), permit_open=(Permission("localhost", 0),))
        assert (await narrow.refusal(InetTarget("127.0.0.1", port))).cause == "denied"
        assert (await service.refusal(InetTarget("localhost", 1))).cause == "denied"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("host", ["", "localhost", "LOCALHOST", "127.0.0.1"])
async def test_a_listener_is_on_loopback_addresses_unless_the_policy_allows_others(host: str) -> None:
    service = Service()
    address = await service.listen(InetTarget(host, 0))
    assert isinstance(address, InetTarget)
    assert address.host == "127.0.0.1"
    assert (service.records[0].cause, service.records[0].address) == ("listening", str(address))
    for other in ("*", "0.0.0.0", "::"):  # what is refused
        with pytest.raises(ForwardRefused, match="the policy does not allow a listener"):
            await service.listen(InetTarget(other, 0))
    assert [record.cause for record in service.records[1:]] == ["denied"] * 3
    everywhere = Service(listen=("*:*",))
    assert str(await everywhere.listen(InetTarget("*", 0))).startswith("0.0.0.0:")


@pytest.mark.usefixtures("home")
async def test_a_name_without_an_address_is_no_place_to_listen() -> None:
    with pytest.raises(ForwardRefused, match="has no address"):
        await Service(listen=("*:*",)).listen(InetTarget("name.invalid", 0))


async def test_a_listening_path_is_judged_by_where_its_directory_is(home: Path) -> None:
    (home / "ok").mkdir()
    (home / "way").symlink_to(home / "ok")
    service = Service(listen=("unix:~/ok/*",))
    assert await service.listen(UnixTarget(b"way/s")) == UnixTarget(os.fsencode(home / "ok" / "s"))
    (home / "ok" / "out").symlink_to(home)
    for path in (b"s", b"ok/../s", b"ok/out/s"):
        with pytest.raises(ForwardRefused, match="the policy does not allow a listener"):
            await service.listen(UnixTarget(path))
    with pytest.raises(ForwardRefused, match="it is a directory"):
        await service.listen(UnixTarget(b"ok/"))


async def test_a_listener_is_in_the_directory_that_was_judged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ok", "other"):
        (home / name).mkdir()

    async def replaced(where: ForwardTarget, accepted: Accepted, directory: int) -> LocalListener:
        (home / "ok").rename(home / "moved")
        (home / "ok").symlink_to(home / "other")
        return await listen_at(where, accepted, directory)

    monkeypatch.setattr("farhand_server.forwards.judged.listen_at", replaced)

    async def accepted(connected: Connected, origin: str) -> None:
        raise AssertionError("nobody connects")

    service = Service(listen=("unix:~/ok/*",))
    listener = await service.judged.listen(UnixTarget(b"ok/s"), accepted)
    bound = list((home / "moved").iterdir())
    listener.close()
    assert bound == [home / "moved" / "s"]
    assert not list((home / "other").iterdir())


async def test_a_directory_that_is_not_there_is_for_those_to_know_who_may_listen_there(home: Path) -> None:
    service = Service(listen=("unix:~/ok/*/*",))
    with pytest.raises(ForwardRefused, match="No such file"):
        await service.listen(UnixTarget(b"ok/none/s"))
    with pytest.raises(ForwardRefused, match="the policy does not allow a listener"):
        await service.listen(UnixTarget(b"none/s"))
    before = len(own_descriptors())
    with pytest.raises(ForwardRefused):
        await service.listen(UnixTarget(b"s"))
    assert len(own_descriptors()) <= before
    gone = home / "gone"
    gone.mkdir()
    there = os.open(gone, os.O_PATH)
    gone.rmdir()
    with pytest.raises(ForwardRefused, match="could be judged"):
        await Service(listen=("unix:*",)).listen(UnixTarget(b"/proc/self/fd/%d/s" % there))
    os.close(there)


@pytest.mark.usefixtures("home")
async def test_a_socket_for_an_agent_is_a_new_one_that_only_its_user_can_reach() -> None:
    address = await Service(listen=()).listen(UnixTarget(b""))
    assert isinstance(address, UnixTarget)
    assert not Path(os.fsdecode(address.path)).parent.exists()
    with pytest.raises(ForwardRefused, match="agent"):
        await Service(agent=False).listen(UnixTarget(b""))


@pytest.mark.usefixtures("secret")
async def test_any_path_needs_no_look_at_links(home: Path) -> None:
    sock = await Service().judged.connect(UnixTarget(b"secret"), "")
    assert sock.getpeername() == str(home / "secret")
    sock.close()
    await asyncio.sleep(0)


async def test_a_file_that_is_opened_for_nobody_any_more_is_closed(
    home: Path, allowed: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(connect=(f"unix:{home}/ok/*",))
    loop = asyncio.get_running_loop()
    asked, answer, closed = asyncio.Event(), threading.Event(), loop.create_future()
    really_open, really_close, opened = os.open, os.close, list[int]()

    def slow(path: bytes, flags: int) -> int:
        loop.call_soon_threadsafe(asked.set)
        answer.wait(60)
        opened.append(really_open(path, flags))
        return opened[0]

    def noted(fd: int) -> None:
        really_close(fd)
        if fd in opened and not closed.done():
            closed.set_result(fd)

    monkeypatch.setattr(os, "open", slow)
    monkeypatch.setattr(os, "close", noted)
    connecting = asyncio.ensure_future(service.judged.connect(UnixTarget(b"ok/s"), ""))
    await asked.wait()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    answer.set()
    async with asyncio.timeout(60):
        assert await closed == opened[0]


@pytest.mark.usefixtures("allowed")
async def test_files_that_hang_are_few_however_many_connections_are_asked_for_and_given_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(connect=(f"unix:{home}/ok/*",))
    answer, really_open, asked = threading.Event(), os.open, list[bytes]()

    def slow(path: bytes, flags: int) -> int:
        asked.append(path)
        answer.wait(60)
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", slow)
    for _ in range(20):
        given_up = [asyncio.ensure_future(service.judged.connect(UnixTarget(b"ok/s"), "")) for _ in range(10)]
        await asyncio.sleep(0)
        for connecting in given_up:
            connecting.cancel()
        await asyncio.wait(given_up)
    answer.set()
    async with asyncio.timeout(60):
        (await service.judged.connect(UnixTarget(b"ok/s"), "")).close()
    assert len(asked) == MAX_OPENING + 1
