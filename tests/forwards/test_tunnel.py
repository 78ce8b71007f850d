"""Connections through two joined tunnels, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
from pathlib import Path

import pytest

from farhand_forwards import mux, wire
from farhand_forwards.accepting import Accepted, Connected, LocalListener
from farhand_forwards.exchange import EVENT_BATCH
from farhand_forwards.flow import Flow, FlowReport, TunnelClosed
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget
from farhand_forwards.tunnel import Tunnel
from farhand_forwards.wire import MIN_FLOW_WINDOW, ForwardFrame, ForwardWireError, Opening
from tests.support.joined_tunnel import CAPACITY, DenyingService, join_streams, joined_tunnel
from tests.support.polled_frames import PolledFrames


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


async def test_a_listener_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    where = UnixTarget(os.fsencode(tmp_path / "file"))
    async with joined_tunnel() as tunnel, asyncio.timeout(30):
        with pytest.raises(ForwardRefused, match="a file that is not a socket exists there") as refused:
            await tunnel.client.listen(where, never)
        assert refused.value.cause == "busy"
        with pytest.raises(ForwardRefused, match="this side does not listen"):
            await tunnel.worker.listen(where, never)
        with pytest.raises(ForwardRefused, match="this side does not connect"):
            await tunnel.worker.open(where)


async def never(flow: Flow, origin: str) -> None:
    raise AssertionError("nothing connects")


async def test_a_closed_listener_accepts_no_more_and_its_connections_go_on() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(30):

        async def accepted(flow: Flow, origin: str) -> None:
            await echo(*flow.streams())

        listener = await tunnel.client.listen(InetTarget("127.0.0.1", 0), accepted)
        assert isinstance(listener.address, InetTarget)
        host, port, _ = listener.address
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        await listener.close()
        await listener.close()
        while await connects(host, port):
            pass
        writer.write(b"2")
        assert await reader.readexactly(1) == b"2"
        writer.close()


async def connects(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionError:
        return False
    writer.close()
    return True


async def test_the_end_of_the_tunnel_ends_its_listeners_and_what_waits_for_them() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(30):
        listener = await tunnel.client.listen(InetTarget("127.0.0.1", 0), never)
        assert isinstance(listener.address, InetTarget)
        waiting = asyncio.ensure_future(tunnel.client.listen(InetTarget("127.0.0.1", 0), never))
        await asyncio.sleep(0)
        tunnel.client.close()
        with pytest.raises(TunnelClosed, match="the tunnel was closed"):
            await waiting
        with pytest.raises(TunnelClosed):
            await tunnel.client.listen(InetTarget("", 0), never)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*listener.address[:2])


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n", bytes(9), b"\x01"])
async def test_nonsense_ends_the_tunnel_and_everything_in_it(nonsense: bytes) -> None:
    stream, peer = join_streams()
    tunnel = Tunnel(PolledFrames(stream), client=True, service=DenyingService())
    running = asyncio.ensure_future(tunnel.run())
    flow = tunnel.begin(InetTarget("web", 80))
    await peer.write(nonsense)
    peer.end()
    async with asyncio.timeout(20):
        with pytest.raises(ForwardWireError):
            await running
        with pytest.raises(TunnelClosed):
            await flow.opened()
    assert tunnel.reports() == []


async def test_a_tunnel_that_was_closed_before_it_ran_ends_at_once() -> None:
    stream, _ = join_streams()
    tunnel = Tunnel(PolledFrames(stream), client=True, service=DenyingService())
    tunnel.close()
    async with asyncio.timeout(20):
        await tunnel.run()


async def test_a_side_that_floods_and_does_not_read_is_read_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mux, "MAX_UNSENT_ANSWERS", 1 << 16)
    stream, peer = join_streams()
    tunnel = Tunnel(PolledFrames(stream), client=True, service=DenyingService())
    running = asyncio.ensure_future(tunnel.run())
    peer.peer.peer.stored = CAPACITY + 1
    peer.room.clear()  # nothing that the tunnel writes arrives
    await peer.write(wire.encode_hello(MIN_FLOW_WINDOW))
    flow = 0
    async with asyncio.timeout(60):
        while not tunnel.mux.flooded:
            for _ in range(100):
                flow += 2
                peer.peer.arrived.put_nowait(wire.encode_open(flow, Opening(InetTarget("web", 80), "", 0)))
            await asyncio.sleep(0)
        left = peer.peer.arrived.qsize()
        for _ in range(100):
            await asyncio.sleep(0)
        assert peer.peer.arrived.qsize() == left
        peer.room.set()
        while peer.peer.arrived.qsize():
            peer.stored = 0
            peer.room.set()
            await asyncio.sleep(0)
    tunnel.close()
    await running


class WaitingService:
    """Connects and listens only after the end of the test."""

    def __init__(self) -> None:
        self.waiting = 0

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        await self._wait()
        raise AssertionError("it does not go on")

    async def listen(self, where: ForwardTarget, accepted: Accepted) -> LocalListener:
        await self._wait()
        raise AssertionError("it does not go on")

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.waiting -= 1


@pytest.mark.parametrize("begun", [False, True])
async def test_what_the_other_side_asks_for_and_gives_up_leaves_nothing(begun: bool) -> None:
    service = WaitingService()
    stream, peer = join_streams()
    reports: list[FlowReport] = []
    tunnel = Tunnel(PolledFrames(stream), client=False, service=service, closed=reports.append)
    running = asyncio.ensure_future(tunnel.run())
    await peer.write(wire.encode_hello(MIN_FLOW_WINDOW))
    where = InetTarget("web", 80)
    async with asyncio.timeout(30):
        await asyncio.sleep(0)
        tasks = len(asyncio.all_tasks())
        for number in range(1, 401, 4):
            asked = wire.encode_open(number, Opening(where, "", 0)) + wire.encode_listen(number + 2, where)
            given_up = b"".join(wire.encode_forward(ForwardFrame.RESET, each) for each in (number, number + 2))
            if begun:
                await peer.write(asked)
                while service.waiting < 2:  # noqa: ASYNC110  # each turn of the loop goes on with it
                    await asyncio.sleep(0)
                await peer.write(given_up)
            else:
                await peer.write(asked + given_up)
            while len(reports) < number // 4 + 1 or len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110  # as before
                await asyncio.sleep(0)
        gc.collect()
        assert sum(isinstance(each, Flow) for each in gc.get_objects()) <= 1  # the loop may still know the last one
        tunnel.close()
        await running


async def test_who_opens_and_resets_connections_without_end_lets_others_go_on_and_leaves_nothing() -> None:
    stream, peer = join_streams()
    ended = 0

    def closed(report: FlowReport) -> None:
        nonlocal ended
        ended += 1

    tunnel = Tunnel(PolledFrames(stream), client=False, service=WaitingService(), closed=closed)
    running = asyncio.ensure_future(tunnel.run())
    pairs, where = 5_000, Opening(InetTarget("web", 80), "", 0)
    await peer.write(wire.encode_hello(MIN_FLOW_WINDOW))
    await peer.write(
        b"".join(
            wire.encode_open(number, where) + wire.encode_forward(ForwardFrame.RESET, number)
            for number in range(1, 2 * pairs, 2)
        )
    )
    turns, most, before = 0, 0, len(asyncio.all_tasks())
    async with asyncio.timeout(60):
        while ended < pairs:
            await asyncio.sleep(0)
            turns, most = turns + 1, max(most, len(asyncio.all_tasks()) - before)
    assert turns >= 2 * pairs // EVENT_BATCH
    assert most <= 2 * EVENT_BATCH
    assert tunnel.reports() == []
    tunnel.close()
    await running


async def test_a_listener_of_another_kind_than_was_asked_for_ends_the_tunnel() -> None:
    stream, peer = join_streams()
    tunnel = Tunnel(PolledFrames(stream), client=True, service=DenyingService())
    running = asyncio.ensure_future(tunnel.run())
    listening = asyncio.ensure_future(tunnel.listen(UnixTarget(b""), never))
    async with asyncio.timeout(20):
        await asyncio.sleep(0)  # it has asked
        await peer.write(wire.encode_hello(MIN_FLOW_WINDOW) + wire.encode_listening(1, InetTarget("127.0.0.1", 80)))
        with pytest.raises(ForwardWireError, match="LISTENING"):
            await running
        with pytest.raises(TunnelClosed):
            await listening


async def test_a_thousand_connections_through_one_listener_are_all_served() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1000)
    target = InetTarget("127.0.0.1", server.sockets[0].getsockname()[1])
    allow_descriptors(6000)
    async with joined_tunnel() as tunnel, asyncio.timeout(100):

        async def accepted(connected: Connected, origin: str) -> None:
            await tunnel.client.begin(target, origin).relay(connected)

        listener = await listen_at(InetTarget("127.0.0.1", 0), accepted)
        assert isinstance(listener.address, InetTarget)
        host, port, _ = listener.address
        pairs = [await asyncio.open_connection(host, port) for _ in range(1000)]
        for number, (_, writer) in enumerate(pairs):
            writer.write(b"%d\n" % number)
        for number, (reader, _) in enumerate(pairs):
            assert await reader.readline() == b"%d\n" % number
        assert len(tunnel.client.reports()) == len(tunnel.worker.reports()) == 1000
        for _, writer in pairs:
            writer.write_eof()
        for reader, writer in pairs:
            assert await reader.read() == b"end"
            writer.close()
        listener.close()
        await tunnel.reported(1000)
    server.close()
    assert {report.cause for report in tunnel.worker_reports} == {"ended"}


def allow_descriptors(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), max(hard, number)))


async def test_a_connection_that_a_tunnel_has_no_room_for_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(flow: Flow, origin: str) -> None:
        raise AssertionError("nothing is to arrive")

    async with joined_tunnel() as joined:
        listener = await joined.client.listen(InetTarget("127.0.0.1", 0), nobody)
        assert isinstance(listener.address, InetTarget)
        monkeypatch.setattr(mux, "MAX_FLOWS", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
