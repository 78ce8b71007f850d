"""One deadline covers everything that `connect` does, whatever hangs, and the error names it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from farhand_client import ConnectError, HostKeyUnknown, connect, sync
from farhand_client.connection.deadline import connect_deadline
from farhand_client.trust import identities
from farhand_protocol import messages as m
from farhand_protocol.sshformat import PublicKey, pack_string, pack_u32
from tests.support import openssh
from tests.support.clock import virtual_time
from tests.support.fake_service import FakeConnection, welcome
from tests.support.fake_tls import record, tls_service
from tests.support.openssh import SoftwareSecurityKey

pytestmark = pytest.mark.usefixtures("home")

Expire: TypeAlias = Callable[[], None]
"""Lets the time of the `connect` under way be over, from any thread. So no test depends on how fast the machine is."""


Scopes: TypeAlias = list[tuple[asyncio.AbstractEventLoop, asyncio.Timeout]]


@pytest.fixture
def scopes(monkeypatch: pytest.MonkeyPatch) -> Scopes:
    """The time limits of all `connect` in this test, each with its event loop."""
    scopes: Scopes = []

    def timeout(seconds: float) -> asyncio.Timeout:
        loop = asyncio.get_running_loop()
        scopes.append((loop, asyncio.Timeout(loop.time() + seconds)))
        return scopes[-1][1]

    observed = SimpleNamespace(timeout=timeout, get_running_loop=asyncio.get_running_loop)
    monkeypatch.setattr("farhand_client.connection.deadline.asyncio", observed)
    return scopes


@pytest.fixture
def expire(scopes: Scopes) -> Expire:
    def end() -> None:
        loop, scope = scopes[-1]
        loop.call_soon_threadsafe(scope.reschedule, 0.0)

    return end


@pytest.fixture
def hang(expire: Expire) -> Iterator[Callable[..., Any]]:
    """A function that blocks until the end of the test; the time is over once it is called."""
    end = threading.Event()

    def wait(*_: Any, **__: Any) -> None:
        expire()
        end.wait(60)

    yield wait
    end.set()


@virtual_time
async def test_the_error_says_which_step_took_too_long() -> None:
    async def two_steps() -> None:
        async with connect_deadline(5) as deadline:
            deadline.step("the first step was not done")
            await asyncio.sleep(3)
            assert deadline.left == pytest.approx(2)
            deadline.step("the second step was not done", "; look there")
            await asyncio.sleep(3)

    with pytest.raises(ConnectError, match=r"^the second step was not done within 5 seconds; look there$"):
        await two_steps()


@virtual_time
async def test_the_clock_stands_still_while_a_person_is_asked() -> None:
    async def person() -> str:
        await asyncio.sleep(1000)
        return "yes"

    async def question() -> None:
        async with connect_deadline(5) as deadline:
            await asyncio.sleep(3)
            assert await deadline.person(person()) == "yes"
            assert deadline.left == pytest.approx(2)
            assert deadline.questions == 1
            await asyncio.sleep(3)

    with pytest.raises(ConnectError, match="within 5 seconds"):
        await question()


async def test_a_timeout_of_the_block_itself_is_not_taken_for_the_deadline() -> None:
    with pytest.raises(TimeoutError, match="of the caller"):
        async with connect_deadline(5):
            raise TimeoutError("of the caller")


async def test_a_name_server_that_hangs(monkeypatch: pytest.MonkeyPatch, hang: Callable[..., Any]) -> None:
    def resolve(*args: Any, **options: Any) -> Any:
        if options.get("flags") == socket.AI_NUMERICHOST:
            raise socket.gaierror
        return hang()

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ConnectError, match=r"the name web\.example was not resolved within 60 seconds"):
        await connect("web.example", timeout=60)


def accept_after_login(client: FakeConnection, message: m.AnyMessage) -> None:
    if isinstance(message, m.Hello):
        client.send(welcome(client, login=True))
    else:
        client.send(m.Accepted(user="ann", host="fake"))


@contextlib.asynccontextmanager
async def agent(
    path: Path, *keys: PublicKey, signs: bool = False, asked_to_sign: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """An agent that lists `keys` and never signs, unless `signs`; without keys it does not even list them."""
    ends: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(end := asyncio.Event())
        with contextlib.suppress(asyncio.IncompleteReadError):
            request = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
            if keys and request[0] == 11:
                listed = b"".join(pack_string(key.blob) + pack_string(b"a key") for key in keys)
                writer.write(pack_string(b"\x0c" + pack_u32(len(keys)) + listed))
            elif signs:
                signature = pack_string(keys[0].type.encode()) + pack_string(b"not verified here")
                writer.write(pack_string(b"\x0e" + pack_string(signature)))
            elif keys:
                asked_to_sign()
            await reader.read()
        writer.close()
        await writer.wait_closed()
        end.set()

    async with await asyncio.start_unix_server(serve, path):
        yield
        for end in ends:
            await end.wait()


async def test_an_agent_that_hangs_while_signing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expire: Expire
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    touched: list[str] = []
    plain, security_key = openssh.make_key(tmp_path / "key"), SoftwareSecurityKey.ed25519().public_key
    for key, hint in (
        (plain, "its agent may be waiting for a touch or a confirmation"),
        (security_key, "it waits for a touch"),
    ):
        async with (
            agent(tmp_path / "agent", key, asked_to_sign=expire),
            tls_service(tmp_path, greet=accept_after_login) as (service, _),
        ):
            with pytest.raises(ConnectError, match=rf"a key in the ssh-agent \(.*\) did not sign within .*; {hint}"):
                await connect(service.host, timeout=60, touch=touched.append)
            await service.connections[0].closed.wait()
    assert touched == [f"touch your security key: a key in the ssh-agent ({security_key.fingerprint})"]


async def test_a_touch_is_announced_at_each_reconnect_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    touched: list[str] = []
    async with (
        agent(tmp_path / "agent", SoftwareSecurityKey.ed25519().public_key, signs=True),
        tls_service(tmp_path, greet=accept_after_login) as (service, _),
        connect(service.host, touch=touched.append) as client,
    ):
        service.connections[0].cut()
        await service.connections[0].closed.wait()
        await client.ping()
    assert len(touched) == 2


async def test_the_sync_api_has_the_same_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expire: Expire
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    key = openssh.make_key(tmp_path / "key")
    async with (
        agent(tmp_path / "agent", key, asked_to_sign=expire),
        tls_service(tmp_path, greet=accept_after_login) as (service, _),
    ):
        with pytest.raises(ConnectError, match="did not sign within"):
            await asyncio.to_thread(sync.connect, service.host, timeout=60)


async def test_an_agent_that_hangs_while_listing_leaves_time_for_key_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    monkeypatch.setattr(identities, "LIST_TIMEOUT", 0.1)
    (tmp_path / ".ssh").mkdir()
    openssh.make_key(tmp_path / ".ssh" / "id_ed25519")
    async with (
        agent(tmp_path / "agent"),
        tls_service(tmp_path, greet=accept_after_login) as (service, _),
        connect(service.host, timeout=30) as client,
    ):
        assert client.user == "ann"


async def test_a_key_file_on_a_file_system_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: Callable[..., Any]
) -> None:
    opened = os.open

    def open_file(path: Any, flags: int, *args: Any) -> int:
        return hang() if str(path).endswith("slow") else opened(path, flags, *args)

    monkeypatch.setattr(os, "open", open_file)
    async with tls_service(tmp_path, greet=accept_after_login) as (service, _):
        with pytest.raises(ConnectError, match="the login keys were not read within 60 seconds"):
            await connect(service.host, timeout=60, identities=[tmp_path / "slow"])
        with pytest.raises(ConnectError, match=f"{tmp_path}/slow was not read within 60 seconds"):
            await connect(service.host, timeout=60, known_hosts=tmp_path / "slow")


async def test_a_lock_on_known_hosts_that_is_never_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expire: Expire
) -> None:
    locked = fcntl.flock

    def lock(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            expire()
        locked(descriptor, operation)

    directory = record(tmp_path).path.parent
    async with tls_service(tmp_path, known=False) as (service, _):
        directory.mkdir(parents=True)
        held = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            monkeypatch.setattr(fcntl, "flock", lock)
            with pytest.raises(
                ConnectError, match=f"was not written within .*; another process may have locked {directory}"
            ):
                await connect(service.host, timeout=60, accept_new=True)
        finally:
            os.close(held)
        # What was given up does not happen later: the next one to get the lock comes after it.
        waiting = os.open(directory, os.O_RDONLY)
        await asyncio.to_thread(locked, waiting, fcntl.LOCK_EX)
        os.close(waiting)
        assert not record(tmp_path).path.exists()


async def test_the_time_in_which_a_person_confirms_a_key_does_not_count(tmp_path: Path, scopes: Scopes) -> None:
    asked = []

    async def confirm(unknown: HostKeyUnknown) -> bool:
        asked.append(scopes[-1][1].when())
        return True

    async with tls_service(tmp_path, known=False) as (service, _), connect(service.host, timeout=60, confirm=confirm):
        assert asked == [None]
