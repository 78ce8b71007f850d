"""A client has one tunnel, for as long as anything uses it, and another one after it was lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from farhand_client import ForwardError, TunnelLost
from farhand_client.forwards import client_tunnel
from farhand_client.forwards.client_tunnel import typed
from farhand_forwards.flow import TunnelClosed
from farhand_forwards.targets import ForwardRefused, InetTarget
from tests.support.fake_forward_worker import FakeWorkers, forwarding_client, target


async def test_everything_goes_through_one_tunnel(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        async with client.forward_local("127.0.0.1", port), client.forward_remote("127.0.0.1", port):
            connections = await asyncio.gather(*(client.open_connection("127.0.0.1", port) for _ in range(5)))
        for _, writer in connections:
            writer.transport.abort()
        assert len(workers.runs) == 1


async def test_a_tunnel_that_is_used_again_in_time_stays(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        for _ in range(3):
            reader, writer = await client.open_connection("127.0.0.1", port)
            writer.write_eof()
            assert await reader.read() == b" end"
            writer.close()
        assert len(workers.runs) == 1


async def test_an_unused_tunnel_ends_and_the_next_use_begins_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_tunnel, "TUNNEL_LINGER", 0.0)
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        for number in range(1, 3):
            _, writer = await client.open_connection("127.0.0.1", port)
            assert len(workers.runs) == number
            workers.ended.clear()
            writer.transport.abort()
            await workers.ended.wait()


async def test_a_listener_that_is_asked_for_when_the_worker_is_lost_is_with_the_next(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        asking = asyncio.ensure_future(client.forward_remote("127.0.0.1", port))
        await workers.arrived.wait()
        workers.kill()
        async with await asking:
            assert len(workers.runs) == 2


async def test_a_worker_that_is_lost_again_and_again_is_given_up(tmp_path: Path) -> None:
    workers = FakeWorkers()

    async def behave(run: object) -> None:
        serving = asyncio.ensure_future(workers.behave(run))  # type: ignore[arg-type]  # a FakeRun
        await workers.arrived.wait()
        workers.arrived.clear()
        workers.kill()
        await serving

    async with forwarding_client(tmp_path, behave) as client:
        with pytest.raises(TunnelLost):
            await client.open_connection("192.0.2.1", 80)
        assert len(workers.runs) == client_tunnel.MAX_TUNNELS_TRIED


async def test_the_worker_can_have_this_side_do_nothing(tmp_path: Path) -> None:
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        _, writer = await client.open_connection("127.0.0.1", port)
        with pytest.raises(ForwardRefused) as raised:
            await workers.tunnels[0].open(InetTarget("127.0.0.1", port))
        assert raised.value.cause == "denied"

        async def accepted(flow: object, origin: str) -> None:
            """Never called."""

        with pytest.raises(ForwardRefused) as raised:
            await workers.tunnels[0].listen(InetTarget("", 0), accepted)
        assert raised.value.cause == "denied"
        writer.transport.abort()


def test_errors_of_the_tunnel_are_those_of_this_package() -> None:
    refused = typed(ForwardRefused("timeout", "it did not answer"))
    assert isinstance(refused, ForwardError)
    assert (refused.cause, str(refused)) == ("timeout", "it did not answer")
    lost = typed(TunnelClosed("closed"), "some-id")
    assert isinstance(lost, TunnelLost)
    assert lost.run_id == "some-id"
    other = OSError("other")
    assert typed(other) is other
