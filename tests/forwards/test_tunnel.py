"""Connections through two joined tunnels, over real sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from farhand_forwards.accepting import Connected
from farhand_forwards.flow import Flow
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, InetTarget, UnixTarget
from tests.support.joined_tunnel import joined_tunnel


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"end")
    writer.close()
    await writer.wait_closed()


async def test_a_connection_through_streams() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with joined_tunnel() as tunnel, asyncio.timeout(30):
        flow = await tunnel.client.open(InetTarget("127.0.0.1", port), "test")
        assert flow.address == InetTarget("127.0.0.1", port)
        reader, writer = flow.streams()
        data = bytes(range(256)) * 4096
        writer.write(data)
        writer.write_eof()
        assert await reader.read(-1) == data + b"end"
        writer.close()
        await writer.wait_closed()
    server.close()
    [report] = tunnel.worker_reports
    assert (report.cause, report.sent, report.received) == ("ended", len(data) + 3, len(data))


async def test_a_local_listener_leads_to_a_remote_target() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with joined_tunnel() as tunnel, asyncio.timeout(30):

        async def accepted(connected: Connected, origin: str) -> None:
            await tunnel.client.begin(InetTarget("localhost", port), origin).relay(connected)

        listener = await listen_at(InetTarget("", 0), accepted)
        assert isinstance(listener.address, InetTarget)
        reader, writer = await asyncio.open_connection("localhost", listener.address.port)
        data = b"x" * 5_000_000
        reading = asyncio.ensure_future(reader.read(-1))
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        assert await reading == data + b"end"
        writer.close()
        listener.close()
    server.close()


async def test_a_remote_listener_leads_to_this_side() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(30):

        async def accepted(flow: Flow, origin: str) -> None:
            reader, writer = flow.streams()
            await echo(reader, writer)

        listener = await tunnel.client.listen(UnixTarget(b""), accepted)
        assert isinstance(listener.address, UnixTarget)
        reader, writer = await asyncio.open_unix_connection(listener.address.path.decode())
        writer.write(b"abc")
        writer.write_eof()
        assert await reader.read(-1) == b"abcend"
        writer.close()
        await listener.close()


async def test_a_refused_target_is_told_at_once_and_others_go_on() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = InetTarget("127.0.0.1", closed.getsockname()[1])
        async with joined_tunnel() as tunnel, asyncio.timeout(30):
            for _ in range(2):
                with pytest.raises(ForwardRefused, match="nothing listens there") as refused:
                    await tunnel.client.open(target)
                assert refused.value.cause == "refused"
