"""Datagrams keep their boundaries both ways, and each peer has a flow that ends when it is idle."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from farhand_forwards import datagram_listener
from farhand_forwards.accepting import Connected
from farhand_forwards.datagram_listener import DatagramListener
from farhand_forwards.datagrams import DatagramPeer
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, InetTarget
from farhand_forwards.wire import MAX_DATAGRAM
from tests.support.joined_tunnel import JoinedTunnel, joined_tunnel


def datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def target_of(sock: socket.socket) -> InetTarget:
    return InetTarget("127.0.0.1", sock.getsockname()[1], "udp")


async def received(sock: socket.socket) -> bytes:
    async with asyncio.timeout(20):
        return await asyncio.get_running_loop().sock_recv(sock, 1 << 16)


class Forwarded:
    """A UDP listener here that leads to `target` there."""

    def __init__(self, tunnel: JoinedTunnel, target: socket.socket) -> None:
        self.tunnel = tunnel
        self.target = target
        self.listener: Any = None

    async def accepted(self, connected: Connected, origin: str) -> None:
        await self.tunnel.client.begin(target_of(self.target), origin).relay(connected)

    def client(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect((self.listener.address.host, self.listener.address.port))
        return sock


@asynccontextmanager
async def forwarded() -> AsyncIterator[Forwarded]:
    async with joined_tunnel() as tunnel, asyncio.timeout(60):
        with datagram_socket() as target:
            made = Forwarded(tunnel, target)
            made.listener = await listen_at(InetTarget("", 0, "udp"), made.accepted)
            assert isinstance(made.listener, DatagramListener)
            yield made
            made.listener.close()


@pytest.mark.parametrize("size", [0, 1, 1400, 9000, MAX_DATAGRAM])
async def test_a_datagram_of_any_size_arrives_as_one_both_ways(size: int) -> None:
    async with forwarded() as forward:
        with forward.client() as client:
            loop = asyncio.get_running_loop()
            for number in range(3):
                data = bytes([number]) * size
                client.send(data)
                arrived, peer = await loop.sock_recvfrom(forward.target, 1 << 16)
                assert arrived == data
                forward.target.sendto(data, peer)
                assert await received(client) == data


async def test_each_peer_has_a_flow_of_its_own() -> None:
    async with forwarded() as forward:
        with forward.client() as one, forward.client() as other:
            loop = asyncio.get_running_loop()
            peers: dict[bytes, set[Any]] = {}
            for client, data in ((one, b"one"), (other, b"other"), (one, b"one")):
                client.send(data)
                arrived, peer = await loop.sock_recvfrom(forward.target, 1 << 16)
                peers.setdefault(arrived, set()).add(peer)
            assert [len(found) for found in peers.values()] == [1, 1]
            assert peers[b"one"] != peers[b"other"]
            for data, [peer] in peers.items():
                forward.target.sendto(b"to " + data, peer)
            assert await received(other) == b"to other"
            assert await received(one) == b"to one"
            reports = forward.tunnel.worker.reports()
            assert sorted(report.received for report in reports) == [5, 6]


async def test_an_idle_peer_is_forgotten_and_may_come_back() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(60):
        with datagram_socket() as target:
            made = Forwarded(tunnel, target)
            sock = datagram_socket()
            made.listener = DatagramListener([sock], target_of(sock), made.accepted, idle_timeout=0.1)
            with made.client() as client:
                for number in (1, 2):
                    client.send(b"x")
                    assert await received(target) == b"x"
                    await tunnel.reported(number)
            assert [report.cause for report in tunnel.worker_reports] == ["ended", "ended"]
            made.listener.close()


async def test_the_peer_that_was_idle_for_the_longest_time_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_listener, "MAX_PEERS", 2)
    async with forwarded() as forward:
        with forward.client() as first, forward.client() as second, forward.client() as third:
            loop = asyncio.get_running_loop()
            for client, data in ((first, b"1"), (second, b"2")):
                client.send(data)
                _, peer = await loop.sock_recvfrom(forward.target, 1 << 16)
                if client is first:
                    answered = peer
            forward.target.sendto(b"answer", answered)
            assert await received(first) == b"answer"  # now the second one was idle for longer
            third.send(b"3")
            assert await received(forward.target) == b"3"
            [report] = await forward.tunnel.reported(1)
            assert report.received == 1
            assert len(forward.tunnel.worker.reports()) == 2


async def test_what_nobody_reads_is_dropped_and_counted() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(60):
        with datagram_socket() as target:
            flow = await tunnel.client.open(target_of(target))
            peer = DatagramPeer(lambda data: None)
            relaying = asyncio.ensure_future(flow.relay(peer))
            await asyncio.sleep(0)
            results = [peer.came(bytes(1000)) for _ in range(1000)]
            assert results[0]
            assert not results[-1]
            assert flow.dropped == results.count(False)
            peer.close()
            await relaying
    assert tunnel.client_reports[0].dropped == results.count(False)


async def test_a_target_that_comes_later_is_reached() -> None:
    with datagram_socket() as sock:
        target = target_of(sock)
    async with joined_tunnel() as tunnel, asyncio.timeout(60):
        flow = await tunnel.client.open(target)
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        relaying = asyncio.ensure_future(flow.datagrams(answers.put_nowait))
        await asyncio.sleep(0)
        for _ in range(5):
            flow.send_datagram(b"nobody is there")
            await asyncio.sleep(0.01)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind((target.host, target.port))
            late.setblocking(False)
            flow.send_datagram(b"hello")
            data, peer = await asyncio.get_running_loop().sock_recvfrom(late, 100)
            assert data == b"hello"
            late.sendto(b"welcome", peer)
            assert await answers.get() == b"welcome"
        flow.reset()
        await relaying


async def test_a_denied_target_is_told_and_costs_the_peer_its_datagrams() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(60):
        peer = DatagramPeer(lambda data: None)
        assert peer.came(b"early")
        with pytest.raises(ForwardRefused):
            await tunnel.client.begin(InetTarget("no-such-host.invalid", 5, "udp")).relay(peer)
        assert not peer.came(b"late")


async def test_twenty_thousand_datagrams_pass() -> None:
    async with forwarded() as forward:
        forward.target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        with forward.client() as client:
            loop = asyncio.get_running_loop()
            count = 0
            for number in range(400):
                for _ in range(50):
                    with contextlib.suppress(BlockingIOError):
                        client.send(number.to_bytes(2, "big") * 50)
                for _ in range(50):
                    assert len(await loop.sock_recv(forward.target, 1 << 16)) == 100
                    count += 1
            assert count == 20_000
