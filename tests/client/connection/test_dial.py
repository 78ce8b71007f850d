"""A connection leads to a Farhand service or to nobody: then an error says where it looked and what it found."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from farhand_client import ConnectError, connect
from tests.support.fake_service import FakeService
from tests.support.fake_tls import client_socket, nothing_was_said_to, tls_service
from tests.support.tls import tls

pytestmark = pytest.mark.usefixtures("home")


async def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"there is no socket at .*; is farhandd running"):
        await connect(f"unix:{tmp_path}/none")


async def test_a_socket_nobody_listens_at(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with pytest.raises(ConnectError, match="nothing listens on the socket"):
        await connect(f"unix:{tmp_path}/s")


async def test_what_is_not_a_socket(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConnectError, match="socket"):
        await connect(f"unix:{tmp_path}/file")


async def test_a_port_nobody_listens_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with pytest.raises(ConnectError, match=f"nothing listens on 127.0.0.1 port {free}; does farhandd run there"):
        await connect("127.0.0.1", port=free)


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(ConnectError, match=r"cannot resolve the name nowhere\.invalid"):
        await connect("nowhere.invalid")


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak TLS 1.3 as a Farhand service does"),
        (b"", "closed the connection during the TLS 1.3 handshake|cannot connect"),
    ],
)
async def test_something_else_at_the_port(says: bytes, sentence: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(ConnectError, match=sentence):
            await connect("127.0.0.1", port=server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("alpn", [None, "h2"])
async def test_tls_of_something_else(tmp_path: Path, alpn: str | None) -> None:
    async with tls_service(tmp_path, alpn=alpn) as (service, _):
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1"):
            await connect(service.host)
        assert nothing_was_said_to(service)


async def test_older_tls_is_not_spoken(tmp_path: Path) -> None:
    context, _ = tls(tmp_path / "state")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with FakeService().on_tls(context) as service:
        with pytest.raises(ConnectError, match=r"TLS 1\.3"):
            await connect(service.host, accept_new=True)


@pytest.mark.parametrize("where", ["connect", "tls", "login"])
async def test_silence_has_its_limit(tmp_path: Path, where: str) -> None:
    if where == "login":
        async with tls_service(tmp_path, greet=lambda *_: None) as (service, _):
            with pytest.raises(ConnectError, match=f"{service.host} did not answer within 0.2 seconds"):
                await connect(service.host, timeout=0.2)
            await service.connections[0].over.wait()
    else:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = f"127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(ConnectError, match=f"{host} did not answer within 0.2 seconds"):
                await connect(host, timeout=0.2)


async def test_small_messages_do_not_wait_for_more(tmp_path: Path) -> None:
    async with tls_service(tmp_path) as (service, _), connect(service.host):
        with client_socket(service) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
