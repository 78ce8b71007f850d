"""A connection leads to a Farhand service, or to an error that says where the client looked and what it found."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from farhand_client import AddressError, ConnectError, connect
from farhand_client.connection.dial import FULL_QUEUE_DELAY, connected_socket
from tests.support.fake_service import FakeService
from tests.support.fake_tls import client_socket, received_nothing, tls_service
from tests.support.ports import closed_port
from tests.support.tls import tls

pytestmark = pytest.mark.usefixtures("home")


async def test_a_missing_socket_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"there is no socket at .*; is farhandd running"):
        await connect(f"unix:{tmp_path}/none")


async def test_a_socket_without_a_listener_is_reported(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with pytest.raises(ConnectError, match="nothing listens on the socket"):
        await connect(f"unix:{tmp_path}/s")


async def test_a_file_that_is_not_a_socket_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConnectError, match="socket"):
        await connect(f"unix:{tmp_path}/file")


async def test_a_port_without_a_listener_is_reported() -> None:
    with closed_port() as port, pytest.raises(ConnectError) as caught:
        await connect("127.0.0.1", port=port)
    assert f"nothing listens on 127.0.0.1 port {port}; does farhandd run there" in str(caught.value)


async def test_an_unknown_host_name_is_reported() -> None:
    with pytest.raises(ConnectError, match=r"cannot resolve the name nowhere\.invalid"):
        await connect("nowhere.invalid")


async def test_a_recorded_name_is_suggested_for_a_similar_one(tmp_path: Path) -> None:
    record = tmp_path / "known_hosts"
    record.write_text("somewhere.invalid ssh-ed25519 AAAA\n")
    with pytest.raises(ConnectError, match=r"; did you mean somewhere\.invalid\?"):
        await connect("somwhere.invalid", known_hosts=record)


async def test_a_host_that_cannot_be_encoded_is_an_address_error() -> None:
    with pytest.raises(AddressError, match=r"'a\.\.b' is not a host name"):
        await connect("a..b")


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (b"220 mail.example ESMTP\r\n", "does not speak TLS 1.3 as a Farhand service does"),
        (b"", "closed the connection during the TLS 1.3 handshake|cannot connect"),
    ],
)
async def test_a_server_that_does_not_speak_tls_is_refused(
    says: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.connection.dial.ATTEMPTS_WHEN_CLOSED", 1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(ConnectError, match=sentence):
            await connect("127.0.0.1", port=server.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    ("alert", "sentence"),
    [
        (
            49,
            "refuses connections from this machine for a while, because too many logins failed",
        ),
        (80, "accepts no connection now: it has too many"),
        (40, "does not speak TLS 1.3 as a Farhand service does"),
    ],
)
async def test_a_service_that_refuses_a_connection_says_why_by_a_tls_alert(
    alert: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farhand_client.connection.dial.ATTEMPTS_WHEN_REFUSED", 1)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes((21, 3, 3, 0, 2, 2, alert)))
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        with pytest.raises(ConnectError, match=sentence):
            await connect("127.0.0.1", port=server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("alpn", [None, "h2"])
async def test_a_tls_server_of_another_protocol_is_refused(tmp_path: Path, alpn: str | None) -> None:
    async with tls_service(tmp_path, alpn=alpn) as (service, _):
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1"):
            await connect(service.host)
        assert received_nothing(service)


async def test_tls_older_than_1_3_is_refused(tmp_path: Path) -> None:
    context, _ = tls(tmp_path / "state")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with FakeService().on_tls(context) as service:
        with pytest.raises(ConnectError, match=r"TLS 1\.3"):
            await connect(service.host, accept_new=True)


@pytest.mark.parametrize("where", ["connect", "tls", "login"])
async def test_a_silent_server_runs_into_the_timeout(tmp_path: Path, where: str) -> None:
    if where == "login":
        async with tls_service(tmp_path, greet=lambda *_: None) as (service, _):
            with pytest.raises(ConnectError, match=f"{service.host} did not answer within 1 second"):
                await connect(service.host, timeout=1)
            await service.connections[0].closed.wait()
    else:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(ConnectError, match=f"{host} did not answer within 1 second"):
                await connect(host, timeout=1)


async def test_small_messages_are_sent_without_delay(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host):
        with client_socket(service) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_client_waits_for_its_turn_if_too_many_wait_to_be_accepted(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(socket.socket(socket.AF_UNIX))
        service.bind(path)
        service.listen(0)
        first = stack.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(path)  # it fills the queue
        connecting = asyncio.create_task(connected_socket(path))
        await asyncio.sleep(2 * FULL_QUEUE_DELAY)
        assert not connecting.done()
        stack.enter_context(service.accept()[0])
        async with asyncio.timeout(10):
            connected = stack.enter_context(await connecting)
        assert connected.getpeername() == path
        with pytest.raises(FileNotFoundError):
            await connected_socket(path + "-missing")
