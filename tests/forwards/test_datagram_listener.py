"""Each peer of a UDP listener has a flow of its own, which ends when it is idle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from farhand_forwards import datagram_listener
from farhand_forwards.accepting import Connected
from farhand_forwards.datagram_listener import DatagramListener
from farhand_forwards.targets import ForwardRefused
from tests.support.forwarded_datagrams import Forwarded, datagram_socket, forwarded, received, target_of
from tests.support.joined_tunnel import joined_tunnel


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


async def test_a_target_that_is_refused_is_not_asked_for_with_each_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(20):
        with datagram_socket() as target, datagram_socket() as sock:
            made = Forwarded(tunnel, target)
            asked = 0
            serving = asyncio.Event()

            async def refused(connected: Connected, origin: str) -> None:
                nonlocal asked
                asked += 1
                serving.set()
                raise ForwardRefused("denied", "no")

            made.listener = DatagramListener([sock], target_of(sock), refused)
            with made.client() as client:
                client.send(b"x")
                await serving.wait()
                for _ in range(5):
                    await asyncio.sleep(0)  # the refused peer is closed
                for number in range(1, 10):
                    client.send(b"x")
                    while made.listener.dropped < number:  # noqa: ASYNC110  # each turn of the loop brings it nearer
                        await asyncio.sleep(0)
                assert asked == 1
                monkeypatch.setattr(datagram_listener, "REFUSED_PEER_DELAY", 0.0)
                client.send(b"x")
                while asked < 2:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0)
            made.listener.close()
