"""Datagrams keep their boundaries both ways, and what nobody takes is dropped."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from farhand_forwards.datagrams import DatagramPeer
from farhand_forwards.targets import ForwardRefused, InetTarget
from farhand_forwards.wire import MAX_DATAGRAM
from tests.support.forwarded_datagrams import datagram_socket, forwarded, received, target_of
from tests.support.joined_tunnel import joined_tunnel


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


async def test_a_peer_that_nobody_has_accepted_yet_stores_no_more_than_a_flow_may_send_at_once() -> None:
    peer = DatagramPeer(lambda data: None)
    taken = [peer.came(bytes(MAX_DATAGRAM)) for _ in range(10)]
    assert taken == [True] + [False] * 9
    assert peer.came(b"little")
    peer.close()
    assert not peer.came(b"little")
    small = DatagramPeer(lambda data: None)
    assert [small.came(b"") for _ in range(100)].count(True) == 64


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


async def test_what_arrives_before_anybody_takes_it_costs_no_credit_in_the_end() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(60):
        with datagram_socket() as target:
            flow = await tunnel.client.open(target_of(target))
            flow.send_datagram(b"hello")
            _, peer = await asyncio.get_running_loop().sock_recvfrom(target, 100)
            early = 0
            while early < 100:  # most of a window
                target.sendto(bytes(1000), peer)
                early += 1
                while flow.received < 1000 * early:  # noqa: ASYNC110  # a flow says nothing before it is joined
                    await asyncio.sleep(0)
            arrived: asyncio.Queue[bytes] = asyncio.Queue()
            relaying = asyncio.ensure_future(flow.datagrams(arrived.put_nowait))
            for _ in range(early):
                await arrived.get()
            for number in range(200):  # more than a window
                target.sendto(b"%d" % number + bytes(1000), peer)
                assert (await arrived.get()).startswith(b"%d" % number)
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
