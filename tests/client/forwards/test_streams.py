"""Connections without a listener are asyncio's streams, or a socket."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path

import pytest

from farhand_client import ConnectionLost, ForwardError, TunnelLost
from tests.support.fake_forward_worker import FakeWorkers, echo, forwarding_client, target


async def test_the_streams_do_what_those_of_asyncio_do(tmp_path: Path) -> None:
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client, target() as port:
        reader, writer = await client.open_connection("127.0.0.1", port)
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(writer, asyncio.StreamWriter)
        assert writer.get_extra_info("peername") == ("127.0.0.1", port)
        assert writer.can_write_eof()
        writer.writelines([b"one\n", b"two\n"])
        await writer.drain()
        assert await reader.readline() == b"one\n"
        assert await reader.readuntil(b"o") == b"two"[:3]
        assert await reader.readexactly(1) == b"\n"
        writer.write_eof()
        assert await reader.read() == b" end"
        assert reader.at_eof()
        writer.close()
        assert writer.is_closing()
        await writer.wait_closed()


async def test_a_large_transfer_waits_for_its_reader_and_arrives(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client, target() as port:
        reader, writer = await client.open_connection("127.0.0.1", port)

        async def send() -> None:
            for at in range(0, len(data), 100_000):
                writer.write(data[at : at + 100_000])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        assert await reader.read() == data + b" end"
        await sending
        writer.close()


async def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(echo, tmp_path / "x")
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client:
        reader, writer = await client.open_unix_connection(tmp_path / "x")
        assert writer.get_extra_info("peername") == str(tmp_path / "x")
        writer.write_eof()
        assert await reader.read() == b" end"
        writer.close()
    server.close()


async def test_a_refused_connection_is_an_oserror_with_its_cause(tmp_path: Path) -> None:
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client:
        async with target() as port:
            pass
        with pytest.raises(ForwardError, match="nothing listens there") as raised:
            await client.open_connection("127.0.0.1", port)
        assert isinstance(raised.value, OSError)
        assert (raised.value.cause, raised.value.errno) == ("refused", 111)
        with pytest.raises(ForwardError) as raised:
            await client.open_socket(path=tmp_path / "missing")
        assert raised.value.cause == "refused"
        with pytest.raises(ForwardError) as raised:
            await client.open_connection("nowhere.invalid", 80)
        assert (raised.value.cause, raised.value.errno) == ("unresolved", None)


async def test_a_lost_worker_is_no_end_of_the_data(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        reader, writer = await client.open_connection("127.0.0.1", port)
        given = await client.open_socket("127.0.0.1", port)
        workers.kill()
        with pytest.raises(TunnelLost, match="forward worker is gone"):
            await reader.read()
        with pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(given, 10)
        given.close()
        writer.close()
        reader, writer = await client.open_connection("127.0.0.1", port)
        writer.write_eof()
        assert await reader.read() == b" end"
        writer.close()
        assert len(workers.runs) == 2


async def test_a_connection_that_is_being_made_when_the_worker_is_lost_is_made_through_another(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        opening = asyncio.ensure_future(client.open_connection("127.0.0.1", port))
        await workers.arrived.wait()
        workers.kill()
        _, writer = await opening
        writer.transport.abort()
        assert len(workers.runs) == 2


async def test_a_client_that_is_closed_opens_nothing(tmp_path: Path) -> None:
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client:
        await client.close()
        with pytest.raises(ConnectionLost):
            await client.open_connection("web", 80)


async def test_a_socket_may_be_used_by_a_thread(tmp_path: Path) -> None:
    answers: list[bytes] = []
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client, target() as port:
        given = await client.open_socket("127.0.0.1", port)
        given.setblocking(True)

        def talk() -> None:
            with given:
                given.sendall(b"hello")
                given.shutdown(1)
                with given.makefile("rb") as file:
                    answers.append(file.read())

        thread = threading.Thread(target=talk)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert answers == [b"hello end"]


async def test_a_socket_of_a_client_that_is_closed_at_once_is_reset(tmp_path: Path) -> None:
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client, target() as port:
        given = await client.open_socket("127.0.0.1", port)
        await client.close()
        with given, pytest.raises(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(given, 10)


async def test_tls_may_be_begun_on_a_connection(tmp_path: Path) -> None:
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client, target() as port:
        _, writer = await client.open_connection("127.0.0.1", port)
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError):  # the echo of a client's first message is no server's
            await writer.start_tls(context, server_hostname="web")
        writer.transport.abort()
