"""A machine that only speaks ssh gets a sentence that says what to do, and Farhand's port is found beside ssh's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from farhand_client import ConnectError, connect
from farhand_client.connection import ssh_only
from farhand_client.connection.address import Address, resolve
from farhand_client.connection.ssh_only import speaks_ssh, where_ssh_answers, with_service_port
from tests.support.fake_tls import port as port_of
from tests.support.fake_tls import record, tls_service
from tests.support.ports import closed_port

pytestmark = pytest.mark.usefixtures("home")


@contextlib.asynccontextmanager
async def saying(greeting: bytes, *, ends: bool = False) -> AsyncIterator[int]:
    """Listen on a port of loopback and greet each client, as servers do of protocols in which they speak first."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for number in greeting:
                writer.write(bytes([number]))
                await writer.drain()
            while not ends and await reader.read(4096):
                pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("greeting", "ends", "found"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", False, True),
        (b"SSH-1.99-x\r\n", True, True),
        (b"220 mail.example ESMTP\r\n", False, False),
        (b"SSH", True, False),
        (b"", True, False),
    ],
)
async def test_sshd_says_what_it_is(greeting: bytes, ends: bool, found: bool) -> None:
    async with saying(greeting, ends=ends) as port:
        assert await speaks_ssh("127.0.0.1", port) is found


async def test_nobody_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_only, "BANNER_TIMEOUT", 0.05)
    async with saying(b"") as port:
        assert not await speaks_ssh("127.0.0.1", port)
    with closed_port() as port:
        assert not await speaks_ssh("127.0.0.1", port)


async def test_a_port_of_sshd_is_named_with_what_to_do() -> None:
    async with saying(b"SSH-2.0-OpenSSH_9.2p1\r\n") as port:
        with pytest.raises(ConnectError) as caught:
            await connect("127.0.0.1", port=port)
    assert str(caught.value) == (
        f"127.0.0.1 port {port} speaks ssh, not Farhand's protocol; `farhand up 127.0.0.1` installs Farhand there, and "
        "if it is there, ssh:127.0.0.1 leads to it through ssh"
    )


async def test_a_port_of_something_else_is_reported_as_before() -> None:
    async with saying(b"220 mail.example ESMTP\r\n") as port:
        with pytest.raises(ConnectError, match=r"does not speak TLS 1\.3 as a Farhand service does"):
            await connect("127.0.0.1", port=port)


async def test_a_closed_port_where_ssh_answers_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async with saying(b"SSH-2.0-OpenSSH_9.2p1\r\n") as port:
        monkeypatch.setattr(ssh_only, "SSH_ONLY_PORT", port)
        with closed_port() as closed, pytest.raises(ConnectError) as caught:
            await connect("127.0.0.1", port=closed)
        assert str(caught.value) == (
            f"nothing listens on 127.0.0.1 port {closed}; does farhandd run there, with --listen? But ssh answers on "
            f"port {port}: `farhand up 127.0.0.1` installs Farhand there, and if it is there, ssh:127.0.0.1 leads to "
            "it through ssh"
        )
    assert await where_ssh_answers("127.0.0.1") == ""


async def test_where_sshs_configuration_has_a_port_farhands_own_is_used_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_service(tmp_path, known=False) as (service, key), saying(b"SSH-2.0-x\r\n") as sshd:
        monkeypatch.setattr(ssh_only, "DEFAULT_PORT", port_of(service))
        written = resolve("127.0.0.1", port=sshd)

        def by_ssh(*_: object, **__: object) -> Address:
            return replace(written, is_ssh_port=True)

        monkeypatch.setattr("farhand_client.connector.resolve", by_ssh)
        async with connect("127.0.0.1", accept_new=True) as client:
            assert client.name == service.host
        assert record(tmp_path).check("127.0.0.1", port_of(service), key).state == "known"
        assert record(tmp_path).check("127.0.0.1", sshd, key).state == "unknown"


async def test_where_nothing_listens_on_farhands_port_sshs_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    written = replace(resolve("127.0.0.1", port=2222), is_ssh_port=True)
    with closed_port() as port:
        monkeypatch.setattr(ssh_only, "DEFAULT_PORT", port)
        assert await with_service_port(written) == written
