"""`ssh:HOST` leads to the service's socket by the program ssh, and says what to do where it does not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from farhand_client import CarrierFailed, Client, ConnectError, connect
from farhand_client.connection.reconnecting import Outage
from tests.support.fake_service import FakeService
from tests.support.processes import children, end_of

pytestmark = pytest.mark.usefixtures("home")

TIMEOUT = 30.0

Ssh = Callable[[str], Path]
"""Makes a shell script the program ssh; `$stdio` in it joins it to the fake service."""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    def write(text: str) -> Path:
        program = tmp_path / "ssh"
        stdio = f"exec {sys.executable} -m farhand_server stdio --socket {tmp_path}/fake.sock"
        program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n{text.replace("$stdio", stdio)}\n')
        program.chmod(0o755)
        monkeypatch.setenv("FARHAND_SSH", str(program))
        return program

    return write


def calls(directory: Path) -> list[str]:
    return (directory / "calls").read_text().splitlines()


async def test_a_connection_by_ssh_is_one_to_the_services_socket(ssh: Ssh, tmp_path: Path) -> None:
    ssh("echo Welcome; $stdio")
    mine = children_now()
    async with FakeService().on_socket(tmp_path) as service:
        async with connect("ssh:ann@web", keepalive=20) as client:
            assert (client.name, client.user) == ("ssh:web", "ann")
            assert (await client.run(["true"])).stdout == b""
        hello = service.connections[0].messages[0]
        assert (hello.user, hello.server) == (None, None)  # type: ignore[union-attr]  # it is the hello
    assert children_now() <= mine
    (call,) = calls(tmp_path)
    assert "BatchMode=yes" in call
    assert "ControlPath" not in call


def children_now() -> set[int]:
    import os

    return {*children(os.getpid())}


async def test_it_reconnects_by_another_ssh_first_without_a_shared_connection(ssh: Ssh, tmp_path: Path) -> None:
    ssh("$stdio")
    outages: asyncio.Queue[Outage | None] = asyncio.Queue()
    async with FakeService().on_socket(tmp_path) as service, connect("ssh:web", watch=outages.put_nowait) as client:
        for _ in range(2):
            service.connections[-1].cut()
            async with asyncio.timeout(TIMEOUT):
                outage = await outages.get()
                assert outage is not None
                assert "the connection to ssh:web was closed by the peer" in str(outage.cause)
                assert await outages.get() is None
            assert (await client.run(["true"])).stdout == b""
    assert ["ControlPath=none" in call for call in calls(tmp_path)] == [False, True, False]


async def test_what_ssh_says_about_a_loss_is_told(ssh: Ssh, tmp_path: Path) -> None:
    ssh("sleep 1000 <&- >&- & echo Timeout, server web not responding. >&2; $stdio")
    outages: asyncio.Queue[Outage | None] = asyncio.Queue()
    async with FakeService().on_socket(tmp_path) as service, connect("ssh:web", watch=outages.put_nowait):
        service.connections[-1].cut()
        async with asyncio.timeout(TIMEOUT):
            outage = await outages.get()
        assert outage is not None
        assert str(outage.cause).endswith("was closed by the peer: Timeout, server web not responding.")


async def test_a_killed_connection_is_closed_whole(ssh: Ssh, tmp_path: Path) -> None:
    ssh("$stdio")
    mine = children_now()
    async with FakeService().on_socket(tmp_path):
        client = await connect("ssh:web", reconnect=0)
        (pid,) = children_now() - mine
        await client.close()
    await end_of(pid)
    assert children_now() <= mine


@pytest.mark.parametrize(
    ("script", "sentence", "code"),
    [
        (
            "echo 'ssh: Could not resolve hostname web' >&2; exit 255",
            "cannot connect to web: ssh: Could not resolve",
            255,
        ),
        ("echo a >&2; echo b >&2; exit 255", "ssh cannot connect to web:\n  a\n  b$", 255),
        ("exit 255", "ssh cannot connect to web$", 255),
        ("exit 127", "web has no program farhandd; to install it: farhand up web$", 127),
        (
            "echo 'farhandd: no service answers on /x' >&2; exit 69",
            "no Farhand service answers at web: farhandd: no",
            69,
        ),
        ("exit 69", "or from here: farhand up web$", 69),
        ("exit 1", "ssh led to web, but not to its service: exit code 1$", 1),
        ("kill -9 $$", "ssh to web was ended by signal 9$", -9),
        ("exec yes", "ssh did not lead to a Farhand service at ssh:web: it has written", None),
        ("$stdio", "no Farhand service answers at web: farhandd: no service answers on", 69),
    ],
)
async def test_a_failure_says_what_to_do(
    ssh: Ssh, tmp_path: Path, script: str, sentence: str, code: int | None
) -> None:
    ssh(script)
    mine = children_now()
    with pytest.raises(CarrierFailed, match=sentence) as caught:
        await connect("ssh:web")
    assert caught.value.code == code
    async with asyncio.timeout(TIMEOUT):
        while children_now() - mine:  # noqa: ASYNC110  # a thread reaps it
            await asyncio.sleep(0.001)


async def test_the_time_limit_ends_ssh(ssh: Ssh, tmp_path: Path) -> None:
    ssh("echo $$ >&2; exec sleep 1000")
    mine = children_now()
    with pytest.raises(ConnectError, match=r"ssh:web did not answer within 0\.5 seconds"):
        await connect("ssh:web", timeout=0.5)
    async with asyncio.timeout(TIMEOUT):
        while children_now() - mine:  # noqa: ASYNC110  # a thread reaps it
            await asyncio.sleep(0.001)


async def test_ssh_may_ask_where_it_is_lent_the_terminal(ssh: Ssh, tmp_path: Path) -> None:
    ssh("sleep 1.6; $stdio")  # longer than the time limit: somebody is asked
    lent: list[str] = []

    async def lend(use: Callable[[bool], Awaitable[None]]) -> None:
        lent.append("lent")
        await use(True)
        lent.append("back")

    async with FakeService().on_socket(tmp_path):
        client: Client
        async with connect("ssh:web", timeout=1.5, lend_terminal=lend) as client:
            assert client.connected
    assert lent == ["lent", "back"]
    assert "BatchMode=no" in calls(tmp_path)[0]


async def test_without_a_terminal_it_asks_nothing(ssh: Ssh, tmp_path: Path) -> None:
    ssh("$stdio")
    async with (
        FakeService().on_socket(tmp_path),
        connect("ssh:web", lend_terminal=lambda use: use(False)) as client,
    ):
        assert client.connected
    assert "BatchMode=yes" in calls(tmp_path)[0]
