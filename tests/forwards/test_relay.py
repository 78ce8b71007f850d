"""Sockets joined to flows: half-close, resets and back-pressure pass through, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
import uvloop

from farhand_forwards.flow import Flow, ForwardReset
from farhand_forwards.targets import InetTarget, UnixTarget
from farhand_forwards.wire import MAX_FLOW_WINDOW
from tests.support.joined_tunnel import JoinedTunnel, RealService, joined_tunnel

KINDS = pytest.mark.parametrize("kind", ["tcp", "unix"])


class SocketService(RealService):
    """Connects to one end of a pair of sockets; the other one is `targets`'."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.targets: asyncio.Queue[socket.socket] = asyncio.Queue()

    async def connect(self, target: InetTarget | UnixTarget, origin: str) -> socket.socket:
        ours, theirs = socket_pair(self.kind)
        self.targets.put_nowait(theirs)
        return ours


def socket_pair(kind: str) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets, non-blocking and with small buffers."""
    if kind == "unix":
        one, other = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            one = socket.create_connection(server.getsockname())
            other, _ = server.accept()
    for each in (one, other):
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    return one, other


class Relayed(NamedTuple):
    """A connection: a program's socket here, the target's there, and what joins them."""

    tunnel: JoinedTunnel
    program: socket.socket
    target: socket.socket
    flow: Flow
    relaying: asyncio.Task[None]


@asynccontextmanager
async def relayed(kind: str) -> AsyncIterator[Relayed]:
    service = SocketService(kind)
    async with joined_tunnel(service) as tunnel, asyncio.timeout(60):
        program, near = socket_pair(kind)
        flow = tunnel.client.begin(InetTarget("web", 80), "test")
        relaying = asyncio.ensure_future(flow.relay(near))
        with program, await service.targets.get() as target:
            yield Relayed(tunnel, program, target, flow, relaying)
            relaying.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await relaying


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    uvloop.new_event_loop().close()  # two descriptors of a process's first one stay open
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def sent_all(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def received_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while chunk := await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
        data += chunk
    return bytes(data)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@KINDS
async def test_bytes_pass_both_ways_at_once(kind: str) -> None:
    up, down = os.urandom(3_000_000), os.urandom(3_000_000)
    async with relayed(kind) as connection:
        sending = [sent_all(connection.program, up), sent_all(connection.target, down)]
        tasks = [asyncio.ensure_future(each) for each in sending]
        receiving = [asyncio.ensure_future(received_all(each)) for each in (connection.target, connection.program)]
        await asyncio.gather(*tasks)
        connection.program.shutdown(socket.SHUT_WR)
        connection.target.shutdown(socket.SHUT_WR)
        assert await asyncio.gather(*receiving) == [up, down]
        await connection.relaying
        assert (connection.flow.sent, connection.flow.received) == (len(up), len(down))
        assert connection.flow.cause == "ended"
    assert [report.cause for report in connection.tunnel.worker_reports] == ["ended"]


@KINDS
@pytest.mark.parametrize("first", ["program", "target"])
async def test_the_end_of_one_direction_passes_and_the_other_goes_on(kind: str, first: str) -> None:
    async with relayed(kind) as connection:
        ends = (connection.program, connection.target)
        one, other = ends if first == "program" else ends[::-1]
        await sent_all(one, b"question")
        one.shutdown(socket.SHUT_WR)
        assert await received_all(other) == b"question"
        await sent_all(other, b"answer" * 5_000)
        other.shutdown(socket.SHUT_WR)
        assert await received_all(one) == b"answer" * 5_000
        await connection.relaying


@pytest.mark.parametrize("first", ["program", "target"])
async def test_a_reset_passes(first: str) -> None:
    async with relayed("tcp") as connection:
        ends = (connection.program, connection.target)
        one, other = ends if first == "program" else ends[::-1]
        await sent_all(one, b"x")
        assert await asyncio.get_running_loop().sock_recv(other, 10) == b"x"
        reset(one)
        with pytest.raises(ConnectionResetError):
            await received_all(other)
        with pytest.raises(ForwardReset):
            await connection.relaying


@KINDS
async def test_an_answer_arrives_though_the_target_reads_no_more(kind: str) -> None:
    async with relayed(kind) as connection:
        loop = asyncio.get_running_loop()
        await sent_all(connection.program, b"question")
        assert await loop.sock_recv(connection.target, 100) == b"question"
        await sent_all(connection.target, b"answer")
        connection.target.close()
        assert await received_all(connection.program) == b"answer"
        with contextlib.suppress(OSError):  # whoever goes on sending learns that nobody reads
            while True:
                await sent_all(connection.program, b"more" * 1000)
        with pytest.raises(ForwardReset):
            await connection.relaying


async def test_who_does_not_read_stops_only_its_own_sender() -> None:
    service = SocketService("tcp")
    async with joined_tunnel(service) as tunnel, asyncio.timeout(60), contextlib.AsyncExitStack() as stack:
        programs, targets, relaying = [], [], []
        for _ in range(2):
            program, near = socket_pair("tcp")
            relaying.append(asyncio.ensure_future(tunnel.client.begin(InetTarget("web", 80)).relay(near)))
            programs.append(stack.enter_context(program))
            targets.append(stack.enter_context(await service.targets.get()))
        stuck = asyncio.ensure_future(sent_all(programs[0], bytes(100_000_000)))
        reports = tunnel.worker.reports
        while reports()[0].received < 100_000:  # noqa: ASYNC110  # each turn of the loop brings it nearer
            await asyncio.sleep(0)
        for _ in range(20):
            sending = asyncio.ensure_future(sent_all(programs[1], bytes(1_000_000)))
            left = 1_000_000
            while left:
                left -= len(await asyncio.get_running_loop().sock_recv(targets[1], left))
            await sending
        assert not stuck.done()
        # What the worker has of it is in its socket's buffers, the window, and the target's.
        assert reports()[0].received < MAX_FLOW_WINDOW + 20_000_000
        stuck.cancel()
        for task in relaying:
            task.cancel()
        await asyncio.gather(stuck, *relaying, return_exceptions=True)


async def test_a_relay_that_is_cancelled_resets_both_ends() -> None:
    async with relayed("tcp") as connection:
        connection.relaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connection.relaying
        for each in (connection.program, connection.target):
            with pytest.raises(ConnectionResetError):
                await received_all(each)


@KINDS
async def test_the_end_of_the_tunnel_is_no_orderly_end(kind: str) -> None:
    async with relayed(kind) as connection:
        await sent_all(connection.program, b"x")
        await asyncio.get_running_loop().sock_recv(connection.target, 10)
        connection.tunnel.client.close()
        connection.tunnel.client_stream.end()
        for each in (connection.program, connection.target):
            with contextlib.suppress(ConnectionResetError):  # which a Unix socket does not have
                assert await received_all(each) == b""
        with pytest.raises(ConnectionError, match="closed"):
            await connection.relaying


def test_resets_are_noticed_on_uvloop_too() -> None:
    async def main() -> None:
        async with relayed("tcp") as connection:
            await sent_all(connection.program, bytes(50_000))
            reset(connection.program)
            with contextlib.suppress(ConnectionResetError):
                await received_all(connection.target)
            with pytest.raises(ForwardReset):
                await connection.relaying

    uvloop.run(main())
