"""`connect` records an unknown host key only if told to, and when cancelled closes what it opened."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from farhand_client import ConnectError, HostKeyUnknown, connect
from farhand_protocol import messages as m
from tests.support import openssh
from tests.support.fake_service import FakeConnection, welcome
from tests.support.fake_tls import port, received_nothing, record, tls_service

pytestmark = pytest.mark.usefixtures("home")


async def test_cancelling_in_the_handshake_closes_the_connection() -> None:
    received, gone = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        received.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()
        gone.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        task = asyncio.ensure_future(connect(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        await received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


async def test_cancelling_while_a_person_is_asked_closes_the_connection(tmp_path: Path) -> None:
    async def confirm(unknown: HostKeyUnknown) -> bool:
        assert received_nothing(service)
        task.cancel()
        await asyncio.Event().wait()
        return True

    async with tls_service(tmp_path, known=False) as (service, _):
        task = asyncio.ensure_future(connect(service.host, confirm=confirm))
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("at", [m.Hello, m.Login])
async def test_cancelling_in_the_login_closes_the_connection(tmp_path: Path, at: type[m.Message]) -> None:
    openssh.make_key(tmp_path / "id")

    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if isinstance(message, at):
            task.cancel()
        else:
            client.send(welcome(client, login=True))

    async with tls_service(tmp_path, greet=greet) as (service, _):
        task = asyncio.ensure_future(connect(service.host, identities=[tmp_path / "id"]))
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.connections[0].closed.wait()


async def test_accept_new_records_an_unknown_key(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, key):
        async with connect(service.host, accept_new=True):
            pass
        assert record(tmp_path).check("127.0.0.1", port(service), key).state == "known"
        async with connect(service.host):
            pass


@pytest.mark.parametrize("answer", [True, False])
async def test_a_person_can_confirm_an_unknown_key(tmp_path: Path, answer: bool) -> None:
    asked: list[HostKeyUnknown] = []

    async def confirm(unknown: HostKeyUnknown) -> bool:
        asked.append(unknown)
        return answer

    async with tls_service(tmp_path, known=False) as (service, key):
        if answer:
            async with connect(service.host, confirm=confirm):
                pass
        else:
            with pytest.raises(HostKeyUnknown):
                await connect(service.host, confirm=confirm)
        assert [one.fingerprint for one in asked] == [key.fingerprint]
        assert record(tmp_path).path.exists() is answer


async def test_the_path_of_known_hosts_can_be_given(tmp_path: Path) -> None:
    async with tls_service(tmp_path, known=False) as (service, _):
        async with connect(service.host, accept_new=True, known_hosts=tmp_path / "mine"):
            pass
        assert (tmp_path / "mine").exists()


async def test_without_a_home_a_known_hosts_of_the_caller_suffices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_service(tmp_path, known=False) as (service, _):
        monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
        monkeypatch.setattr("farhand_client.config.home_directory", lambda: None)
        monkeypatch.setattr("farhand_client.connector.home_directory", lambda: None)
        with pytest.raises(ConnectError, match=r"^no home directory is known: .*; set HOME or XDG_CONFIG_HOME$"):
            await connect(service.host, accept_new=True)
        async with connect(service.host, accept_new=True, known_hosts=tmp_path / "mine"):
            pass
