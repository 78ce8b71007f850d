"""One connection of a tunnel: how it begins, which ends it may have, and how it is reported."""

from __future__ import annotations

import asyncio
import socket

import pytest

from farhand_forwards.datagrams import DatagramPeer
from farhand_forwards.flow import Flow, ForwardReset, TunnelClosed
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget
from tests.support.joined_tunnel import JoinedTunnel, RealService, joined_tunnel

WEB = InetTarget("web", 80)


class SlowService(RealService):
    """Connects once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.given_up = asyncio.Event()
        self.there: socket.socket | None = None

    async def connect(self, target: ForwardTarget, origin: str) -> socket.socket:
        self.asked.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        ours, self.there = socket.socketpair()
        return ours


async def accepted_flow(tunnel: JoinedTunnel) -> tuple[Flow, socket.socket, asyncio.Future[Flow]]:
    """Return a flow that the worker's listener has opened, not yet joined, and the socket that has connected to it."""
    arrived: asyncio.Future[Flow] = asyncio.get_running_loop().create_future()
    joined: asyncio.Future[Flow] = asyncio.get_running_loop().create_future()

    async def accepted(flow: Flow, origin: str) -> None:
        arrived.set_result(flow)
        await joined

    listener = await tunnel.client.listen(UnixTarget(b""), accepted)
    assert isinstance(listener.address, UnixTarget)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(listener.address.path)
    sock.setblocking(False)
    return await arrived, sock, joined


async def test_what_is_sent_before_the_other_side_has_connected_waits_there() -> None:
    service = SlowService()
    async with joined_tunnel(service) as tunnel, asyncio.timeout(20):
        flow = tunnel.client.begin(WEB, "me")
        reader, writer = flow.streams()
        writer.write(b"early")
        await service.asked.wait()
        service.go_on.set()
        await flow.opened()
        assert service.there is not None
        with service.there as there:
            there.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(there, 100) == b"early"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_refusal_reaches_who_waits_and_the_joined_socket_is_reset() -> None:
    async with joined_tunnel(SlowService()) as tunnel, asyncio.timeout(20):
        denied = await tunnel.client.listen(UnixTarget(b""), lambda flow, origin: asyncio.sleep(0))
        await denied.close()
    async with joined_tunnel() as tunnel, asyncio.timeout(20):
        near, program = socket.socketpair()
        missing = UnixTarget(b"/no/such/socket")
        flow = tunnel.client.begin(missing, "me")
        with pytest.raises(ForwardRefused, match="there is no such socket"):
            await flow.relay(near)
        assert near.fileno() == -1
        assert program.recv(1) == b""
        program.close()
        report = flow.report()
        assert (report.target, report.origin, report.cause) == (missing, "me", "refused")
        assert report.message == "cannot connect to /no/such/socket: there is no such socket"
        late, other = socket.socketpair()
        with pytest.raises(ForwardRefused):
            await flow.relay(late)
        assert late.fileno() == -1
        other.close()
        assert [each.cause for each in tunnel.worker_reports] == ["refused"]


async def test_giving_up_ends_the_attempt_at_the_other_side() -> None:
    service = SlowService()
    async with joined_tunnel(service) as tunnel, asyncio.timeout(20):
        opening = asyncio.ensure_future(tunnel.client.open(WEB))
        await service.asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await service.given_up.wait()
        assert [report.cause for report in tunnel.worker_reports] == ["reset"]


async def test_a_flow_of_datagrams_takes_no_stream_and_the_other_way_round() -> None:
    async with joined_tunnel(SlowService()) as tunnel, asyncio.timeout(20):
        near, far = socket.socketpair()
        with pytest.raises(ValueError, match="needs a socket of datagrams"):
            await tunnel.client.begin(InetTarget("dns", 53, "udp")).relay(near)
        with pytest.raises(ValueError, match="needs a socket of datagrams"):
            await tunnel.client.begin(WEB).relay(DatagramPeer(lambda data: None))
        assert near.fileno() == -1
        far.close()


async def test_an_accepted_flow_is_refused_unless_it_is_joined() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(20):
        flow, sock, joined = await accepted_flow(tunnel)
        assert (flow.is_ours, flow.from_listener) == (False, True)
        joined.set_exception(ForwardRefused("denied", "not here"))
        with sock:
            assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""
        [report] = await tunnel.reported(1)
        assert (report.cause, report.message, report.listener, report.ours) == ("denied", "not here", True, True)


async def test_an_accepted_flow_may_be_used_after_it_was_accepted() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(20):
        flow, sock, joined = await accepted_flow(tunnel)
        reader, writer = flow.streams()
        joined.set_result(flow)
        with sock:
            await asyncio.get_running_loop().sock_sendall(sock, b"question")
            assert await reader.readexactly(8) == b"question"
            writer.write(b"answer")
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"answer"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert flow.cause == "ended"


async def test_a_reset_is_told_once_and_everything_after_it_does_nothing() -> None:
    async with joined_tunnel() as tunnel, asyncio.timeout(20):
        flow, sock, joined = await accepted_flow(tunnel)
        flow.accept()
        flow.reset()
        flow.reset()
        flow.refuse("denied", "too late")
        flow.send(b"x")
        flow.send_eof()
        flow.consumed(1)
        assert not flow.send_datagram(b"x")
        assert (flow.cause, flow.message) == ("reset", "")
        with sock:
            assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""
        assert joined.cancelled()  # who serves a flow that is over has nothing to do
        near, far = socket.socketpair()
        with far, pytest.raises(ForwardReset):
            await flow.relay(near)


async def test_the_end_of_the_tunnel_ends_a_flow_that_is_not_open_yet() -> None:
    async with joined_tunnel(SlowService()) as tunnel, asyncio.timeout(20):
        flow = tunnel.client.begin(WEB)
        tunnel.client.close()
        with pytest.raises(TunnelClosed):
            await flow.opened()
        assert flow.report().cause == "cut"
