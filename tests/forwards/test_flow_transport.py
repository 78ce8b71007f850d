"""A flow as asyncio's streams and transports: what programs that know asyncio expect."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from farhand_forwards.flow import Flow, ForwardReset, TunnelClosed
from farhand_forwards.flow_transport import WRITE_HIGH_WATER, FlowTransport
from farhand_forwards.targets import InetTarget
from tests.support.joined_tunnel import JoinedTunnel, joined_tunnel
from tests.support.tls import tls

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def connected(handle: Handle, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[JoinedTunnel, Flow]]:
    """A flow to a server that calls `handle` with the connection's streams."""
    handling = set()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await handle(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handled, "127.0.0.1", 0, ssl=context)
    try:
        async with joined_tunnel() as tunnel, asyncio.timeout(20):
            port = server.sockets[0].getsockname()[1]
            yield tunnel, await tunnel.client.open(InetTarget("127.0.0.1", port))
    finally:
        server.close()
        await asyncio.gather(*filter(None, handling))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def test_streams_work_as_those_of_a_socket() -> None:
    async with connected(echo) as (_, flow):
        reader, writer = flow.streams()
        peer = writer.get_extra_info("peername")
        assert peer == (flow.address.host, flow.address.port) if isinstance(flow.address, InetTarget) else False
        assert writer.can_write_eof()
        writer.writelines([b"one\n", bytearray(b"two\n"), memoryview(b"three")])
        assert await reader.readline() == b"one\n"
        assert await reader.readuntil(b"\n") == b"two\n"
        writer.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            writer.write(b"more")
        assert await reader.read() == b"three"
        assert reader.at_eof()
        writer.close()
        assert writer.is_closing()
        await writer.wait_closed()
        assert flow.cause == "ended"


async def test_drain_waits_for_a_peer_that_does_not_read() -> None:
    going_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await going_on.wait()
        assert len(await reader.read()) == 40_000_000
        writer.close()

    async with connected(slow) as (_, flow):
        _, writer = flow.streams()
        for _ in range(40):
            writer.write(bytes(1_000_000))
        transport = writer.transport
        assert transport.get_write_buffer_limits() == (WRITE_HIGH_WATER // 4, WRITE_HIGH_WATER)
        draining = asyncio.ensure_future(writer.drain())
        await asyncio.wait([draining], timeout=0.2)
        assert not draining.done()
        assert transport.get_write_buffer_size() > WRITE_HIGH_WATER
        going_on.set()
        await draining
        writer.close()
        await writer.wait_closed()


class SentParts:
    """The side of a flow that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes | memoryview] = []

    def want_turn(self) -> None:
        """Do nothing: the test gives turns."""

    def send(self, data: bytes | memoryview) -> None:
        self.sent.append(data)

    def send_datagram(self, data: bytes) -> bool:
        raise AssertionError

    def send_eof(self) -> None:
        raise AssertionError

    def consumed(self, count: int) -> None:
        raise AssertionError

    def reset(self) -> None:
        raise AssertionError


async def test_what_is_left_of_a_large_write_is_not_copied_at_each_turn() -> None:
    side = SentParts()
    transport = FlowTransport(side, asyncio.Protocol(), {})
    data = bytes(range(256)) * 4096
    transport.write(data)
    while transport.get_write_buffer_size():
        transport.turn(1 << 16)
    assert b"".join(side.sent) == data
    assert len(side.sent) == 16
    assert len({id(part.obj) for part in side.sent if isinstance(part, memoryview)}) == 1  # all of the same bytes
    assert all(isinstance(part, memoryview) for part in side.sent)


async def test_a_reader_that_does_not_read_stops_the_peer() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(100_000))
            sent += 100_000
            await writer.drain()

    async with connected(flood) as (_, flow):
        reader, writer = flow.streams()
        while len(await reader.readexactly(1000)) and flow.received < 3_000_000:
            pass
        before = -1
        while before != flow.received:
            before = flow.received
            await asyncio.sleep(0.05)
        assert flow.received < 8_000_000
        await reader.readexactly(before)
        writer.transport.abort()
        assert flow.cause == "reset"


async def test_closing_while_the_peer_sends_resets_it() -> None:
    failed = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(bytes(100_000))
                await writer.drain()
        except ConnectionError:
            failed.set()

    async with connected(flood) as (_, flow):
        reader, writer = flow.streams()
        await reader.readexactly(10)
        writer.close()
        await writer.wait_closed()
        await failed.wait()


async def test_what_was_written_before_closing_arrives() -> None:
    arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set_result(len(await reader.read()))
        writer.close()

    async with connected(count) as (_, flow):
        _, writer = flow.streams()
        writer.write(bytes(5_000_000))
        writer.close()
        assert await arrived == 5_000_000


async def test_a_reset_by_the_peer_is_an_error() -> None:
    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with connected(abort) as (_, flow):
        reader, writer = flow.streams()
        writer.write(b"xyz")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ForwardReset):
            await writer.wait_closed()


async def test_the_end_of_the_tunnel_is_an_error() -> None:
    async with connected(echo) as (tunnel, flow):
        reader, writer = flow.streams()
        tunnel.client.close()
        with pytest.raises(TunnelClosed):
            await reader.read()
        with pytest.raises(TunnelClosed):
            await writer.wait_closed()
        with pytest.raises(TunnelClosed):
            await tunnel.client.open(InetTarget("x", 1))


async def test_a_connection_is_used_by_one_end_only() -> None:
    async with connected(echo) as (_, flow):
        _, writer = flow.streams()
        with pytest.raises(ValueError, match="in use already"):
            flow.streams()
        writer.close()


async def test_a_protocol_that_fails_breaks_only_its_connection() -> None:
    class Failing(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context["exception"]))
    async with connected(echo) as (_, flow):
        flow.transport(Failing()).write(b"x")
        while flow.cause is None:  # noqa: ASYNC110  # each turn of the loop brings it nearer
            await asyncio.sleep(0)
        assert flow.cause == "reset"
    assert [type(each) for each in failures] == [ZeroDivisionError]


async def test_tls_goes_through_a_flow(tmp_path: Path) -> None:
    context, _ = tls(tmp_path, alpn=None)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    async with connected(echo, context) as (_, flow):
        reader, writer = flow.streams()
        await writer.start_tls(trusting)
        writer.write(b"secret" * 100_000)
        assert await reader.readexactly(600_000) == b"secret" * 100_000
        writer.close()
        await writer.wait_closed()
    assert flow.received > 600_000
