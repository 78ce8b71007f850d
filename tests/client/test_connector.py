"""`connect` records an unknown host key only if told to, and when cancelled closes what it opened."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from farhand_client import ConnectError, HostKeyUnknown, connect
from farhand_protocol import messages as m
from farhand_protocol.tickets import shown_ticket
from farhand_server.edge.client_hello import offered_protocols
from tests.support import openssh
from tests.support.dropping_proxy import dropping_proxy
from tests.support.fake_service import FakeConnection, accept_client, welcome
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
        monkeypatch.setattr("farhand_client.logins.home_directory", lambda: None)
        with pytest.raises(ConnectError, match=r"^no home directory is known: .*; set HOME or XDG_CONFIG_HOME$"):
            await connect(service.host, accept_new=True)
        async with connect(service.host, accept_new=True, known_hosts=tmp_path / "mine"):
            pass


TOO_MANY, PENALTY = bytes.fromhex("15030300020250"), bytes.fromhex("15030300020231")
"""TLS records with the fatal alerts internal_error and access_denied."""


def ticket_in(first_bytes: bytes) -> bytes | None:
    """Return the ticket that a client shows with a proof that it has its secret."""
    shown = shown_ticket(offered_protocols(first_bytes))
    assert shown is None or shown.proves(b"s" * 16)
    return shown and shown.ticket


async def test_the_ticket_of_a_login_is_shown_at_the_next_connection(tmp_path: Path) -> None:
    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        client.send(welcome(client, login=False))
        ticket = b"ticket %d" % len(service.connections)
        client.send(m.Accepted(user="ada", host="build", ticket=ticket, ticket_secret=b"s" * 16))

    async with tls_service(tmp_path, greet=greet) as (service, key), dropping_proxy(port(service)) as proxy:
        record(tmp_path).add("127.0.0.1", proxy.port, key)
        for _ in range(3):
            async with connect(proxy.host):
                pass
        assert [ticket_in(data) for data in proxy.first_bytes] == [None, b"ticket 1", b"ticket 2"]
        async with connect(proxy.host) as client:
            service.connections[-1].cut()
            await client.ping()
        assert ticket_in(proxy.first_bytes[-1]) == b"ticket 4"


async def test_a_connection_that_is_dropped_is_tried_again(tmp_path: Path) -> None:
    async with (
        tls_service(tmp_path) as (service, key),
        dropping_proxy(port(service), [TOO_MANY, b"", TOO_MANY]) as proxy,
    ):
        record(tmp_path).add("127.0.0.1", proxy.port, key)
        async with connect(proxy.host):
            assert len(proxy.first_bytes) == 4


async def test_a_login_that_is_cut_off_is_tried_again(tmp_path: Path) -> None:
    def greet(client: FakeConnection, message: m.AnyMessage) -> None:
        if len(service.connections) < 3:
            client.cut()
        else:
            accept_client(client, message)

    async with tls_service(tmp_path, greet=greet) as (service, _), connect(service.host):
        assert len(service.connections) == 3


async def test_a_service_that_drops_all_connections_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.connection.dial.ATTEMPTS_WHEN_REFUSED", 3)
    async with dropping_proxy(0, [TOO_MANY] * 9) as proxy:
        with pytest.raises(ConnectError, match="accepts no connection now: it has too many"):
            await connect(proxy.host)
        assert len(proxy.first_bytes) == 3


async def test_a_connection_that_is_refused_for_a_penalty_is_not_tried_again(tmp_path: Path) -> None:
    async with dropping_proxy(0, [PENALTY] * 9) as proxy:
        with pytest.raises(ConnectError, match="refuses connections from this machine for a while"):
            await connect(proxy.host)
        assert len(proxy.first_bytes) == 1
