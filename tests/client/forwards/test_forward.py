"""Forwards accept connections on either side and join them to a target on the other, whatever becomes of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import socket
from pathlib import Path

import pytest

from farhand_client import ConnectionLost, ForwardError, ForwardEvent, RequestRefused, TunnelLost
from farhand_client.forwards import client_tunnel
from farhand_client.forwards import forward as forward_module
from farhand_client.forwards.specs import parse_spec
from farhand_forwards.accepting import Accepted, LocalListener
from farhand_forwards.listening import listen_at
from farhand_forwards.targets import ForwardRefused, ForwardTarget, InetTarget, UnixTarget
from farhand_protocol.errors import ErrorCode
from tests.support.fake_forward_worker import FakeWorkers, echo, forwarding_client, target
from tests.support.fake_service import Behaviour, FakeRun, refusing


async def exchanged(host: str, port: int, data: bytes = b"hello") -> bytes:
    """Connect, send, end, and return the answer."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


class Events(list[ForwardEvent]):
    """What a forward has reported."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, event: ForwardEvent) -> None:
        self.append(event)
        self._more.set()

    async def until(self, kind: str) -> ForwardEvent:
        """Wait for the first event of a kind, and forget those before it."""
        while (event := await self.next()).kind != kind:
            pass
        return event

    async def next(self) -> ForwardEvent:
        """Wait for the next event."""
        while not self:
            self._more.clear()
            await self._more.wait()
        return self.pop(0)


async def test_a_local_forward_leads_to_the_target_and_its_ends_pass_both_ways(tmp_path: Path) -> None:
    events, workers = Events(), FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        async with client.forward_local("127.0.0.1", port, watch=events) as forward:
            assert await exchanged("127.0.0.1", forward.port) == b"hello end"
            assert await exchanged("::1", forward.port) == b"hello end"
            seen = [await events.next() for _ in range(4)]
            assert [event.kind for event in seen] == ["opened", "closed"] * 2
            assert (connection := seen[1].connection) is not None
            assert (connection.sent, connection.received, connection.error) == (5, 9, None)
            assert connection.target == connection.address == InetTarget("127.0.0.1", port)
            assert connection.origin.startswith("127.0.0.1:")
            assert forward.connections == ()
        assert workers.runs[0].request.forward is not None
        assert workers.runs[0].request.forward.purpose == f"-L 0:127.0.0.1:{port}"
        with pytest.raises(OSError, match="Connect call failed"):
            await exchanged("127.0.0.1", forward.port)


async def test_a_remote_forward_leads_back_here(tmp_path: Path) -> None:
    events, workers = Events(), FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        async with client.forward_remote("localhost", port, listen_host="127.0.0.1", watch=events) as forward:
            assert await exchanged("127.0.0.1", forward.port) == b"hello end"
            assert (connection := (await events.until("closed")).connection) is not None
            assert (connection.sent, connection.received) == (9, 5)
        await client.close()
        await workers.ended.wait()
        with pytest.raises(OSError, match="Connect call failed"):
            await exchanged("127.0.0.1", forward.port)


async def test_unix_sockets_may_be_on_either_side(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(echo, tmp_path / "target")
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client:
        here, there = tmp_path / "here", tmp_path / "there"
        async with (
            client.forward_local(path=tmp_path / "target", listen_path=here) as forward,
            client.forward_remote(path=tmp_path / "target", listen_path=there) as back,
        ):
            assert (forward.path, back.path) == (str(here), str(there))
            for path in (here, there):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"hello")
                writer.write_eof()
                assert await reader.read() == b"hello end"
                writer.close()
            with pytest.raises(ValueError, match="ask for its path"):
                _ = forward.port
        assert not here.exists()
        await client.close()
        await workers.ended.wait()
        assert not there.exists()
    server.close()


async def test_datagrams_pass_with_their_boundaries(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        for sock in (there, here):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        async with (
            forwarding_client(tmp_path, FakeWorkers().behave) as client,
            client.forward_local("127.0.0.1", there.getsockname()[1], transport="udp") as forward,
        ):
            await loop.sock_connect(here, ("127.0.0.1", forward.port))
            for size in (0, 1, 65_507):
                here.send(bytes(size))
                data, peer = await loop.sock_recvfrom(there, 1 << 16)
                there.sendto(data, peer)
                assert len(data) == len(await loop.sock_recv(here, 1 << 16)) == size


async def test_a_busy_port_is_an_error_at_once_and_no_worker_is_started_or_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_tunnel, "TUNNEL_LINGER", 0.0)
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        with pytest.raises(ForwardError, match=str(port)) as raised:
            await client.forward_local("web", 80, listen_host="127.0.0.1", listen_port=port)
        assert raised.value.cause == "busy"
        assert workers.runs == []
        with pytest.raises(ForwardError) as there:
            await client.forward_remote("web", 80, listen_host="127.0.0.1", listen_port=port)
        assert there.value.cause == "busy"
        async with asyncio.timeout(20):
            await workers.ended.wait()


async def test_a_refused_target_resets_the_connection_and_the_forward_goes_on(tmp_path: Path) -> None:
    events = Events()
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client:
        async with target() as port:
            pass
        async with client.forward_local("127.0.0.1", port, watch=events) as forward:
            with pytest.raises(ConnectionResetError):
                await exchanged("127.0.0.1", forward.port)
            refused = await events.until("refused")
            assert isinstance(refused.error, ForwardError)
            assert refused.error.cause == "refused"
            assert refused.connection is not None
            assert refused.connection.error is refused.error
        async with client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1", watch=events) as back:
            with pytest.raises(ConnectionResetError):
                await exchanged("127.0.0.1", back.port)
            assert isinstance((await events.until("refused")).error, ForwardError)


async def test_connections_are_reset_with_their_forward_and_go_on_if_it_only_stops_listening(tmp_path: Path) -> None:
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client, target() as port:
        forward = await client.forward_local("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        await forward.stop_listening()
        assert (forward.listens, len(forward.connections)) == (False, 1)
        writer.write(b"y")
        assert await reader.read(1) == b"y"
        waiting = asyncio.ensure_future(forward.wait_closed())
        await forward.close()
        await waiting
        await forward.close()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_closing_the_client_closes_its_forwards_and_every_task_ends(tmp_path: Path) -> None:
    workers = FakeWorkers()
    before = asyncio.all_tasks()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        forward = await client.forward_local("127.0.0.1", port)
        back = await client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1")
        streams = [await asyncio.open_connection("127.0.0.1", each.port) for each in (forward, back)]
        for reader, writer in streams:
            writer.write(b"x")
            assert await reader.read(1) == b"x"
        await client.close()
        await workers.ended.wait()
        for reader, writer in streams:
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
        assert not forward.listens
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if "echo" not in repr(task)]
    assert left == []


@pytest.mark.parametrize("stops", [False, True], ids=["closed", "stopped"])
async def test_a_connection_that_was_just_accepted_when_its_forward_ended_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    callbacks: list[Accepted] = []

    async def listen(where: ForwardTarget, accepted: Accepted) -> LocalListener:
        callbacks.append(accepted)
        return await listen_at(where, accepted)

    monkeypatch.setattr(forward_module, "listen_at", listen)
    workers = FakeWorkers()
    ours, theirs = socket.socketpair()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        forward = await client.forward_local("127.0.0.1", port)
        await (forward.stop_listening() if stops else forward.close())
        with ours, theirs, pytest.raises(ForwardRefused, match="the forward was closed"):
            await callbacks[0](theirs, "127.0.0.1:1")
        assert forward.connections == ()
        assert workers.tunnels[0].reports() == []


async def test_after_a_worker_was_killed_the_next_connection_has_another_one(tmp_path: Path) -> None:
    events, workers = Events(), FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        async with client.forward_local("127.0.0.1", port, watch=events) as forward:
            reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            workers.kill()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            assert isinstance((await events.until("closed")).error, TunnelLost)
            assert await exchanged("127.0.0.1", forward.port) == b"hello end"
        assert len(workers.runs) == 2


async def test_a_remote_listener_is_asked_for_again_at_its_port_after_its_worker_was_killed(tmp_path: Path) -> None:
    events, workers = Events(), FakeWorkers()
    async with (
        forwarding_client(tmp_path, workers.behave) as client,
        target() as port,
        client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1", watch=events) as back,
    ):
        chosen = back.port
        workers.kill()
        lost = await events.until("lost")
        assert isinstance(lost.error, TunnelLost)
        assert "SIGKILL" in str(lost.error)
        await events.until("restored")
        assert back.port == chosen
        assert await exchanged("127.0.0.1", chosen) == b"hello end"


async def test_a_remote_forward_fails_when_the_service_refuses_another_worker(tmp_path: Path) -> None:
    events, workers = Events(), FakeWorkers()
    async with forwarding_client(tmp_path, lambda run: behave(run)) as client, target() as port:
        behave: Behaviour = workers.behave
        back = await client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1", watch=events)
        behave = refusing(ErrorCode.DENIED, "the policy denies forwards")
        workers.kill()
        failed = await events.until("failed")
        assert isinstance(failed.error, RequestRefused)
        with pytest.raises(RequestRefused, match="the policy denies forwards"):
            await back.wait_closed()
        await back.close()


async def test_a_remote_forward_whose_client_has_lost_its_connection_fails_at_once_and_speaks_of_no_run(
    tmp_path: Path,
) -> None:
    events, workers = Events(), FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client:
        back = await client.forward_remote("127.0.0.1", 1, listen_host="127.0.0.1", watch=events)
        workers.runs[0].client.cut()
        with pytest.raises(ConnectionLost) as raised:
            await back.wait_closed()
        assert [event.kind for event in events] == ["failed"]
        assert str(raised.value).endswith("was closed by the peer")
        assert not raised.value.may_have_run


async def test_a_forward_whose_beginning_is_cancelled_leaves_no_connection(tmp_path: Path) -> None:
    requested = asyncio.Event()

    async def never_start(run: FakeRun) -> None:
        requested.set()
        await run.lost()

    async with forwarding_client(tmp_path, never_start) as client:
        beginning = asyncio.ensure_future(client.forward_local("web", 80, listen_path=tmp_path / "x").__aenter__())
        await requested.wait()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "x")
        beginning.cancel()
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("how", ["denied", "old"])
async def test_a_refused_tunnel_is_a_typed_error_with_a_sentence(tmp_path: Path, how: str) -> None:
    behave = refusing(ErrorCode.DENIED, "the policy denies forwards")
    async with forwarding_client(tmp_path, behave, *(() if how == "denied" else ((),))) as client:
        sentence = (
            "the policy denies forwards" if how == "denied" else "cannot forward connections: its farhandd is older"
        )
        for opening in (
            client.forward_local("web", 80),
            client.forward_remote("web", 80),
            client.forward_socks(),
            client.open_connection("web", 80),
        ):
            with pytest.raises(RequestRefused, match=sentence):
                await opening


async def test_a_forward_may_be_given_as_on_the_command_line(tmp_path: Path) -> None:
    async with forwarding_client(tmp_path, FakeWorkers().behave) as client, target() as port:
        for flag, text in (("-L", f"127.0.0.1:0:127.0.0.1:{port}"), ("-R", f"127.0.0.1:0:127.0.0.1:{port}")):
            async with client.forward(parse_spec(flag, text)) as forward:  # type: ignore[arg-type]  # one of both
                assert await exchanged("127.0.0.1", forward.port) == b"hello end"
                assert str(port) in repr(forward)


async def test_a_forward_refuses_to_be_copied(tmp_path: Path) -> None:
    async with (
        forwarding_client(tmp_path, FakeWorkers().behave) as client,
        client.forward_local(path="/run/x", listen_path=tmp_path / "here") as forward,
    ):
        assert forward.address == UnixTarget(bytes(tmp_path / "here"))
        with pytest.raises(TypeError, match="a forward cannot be pickled or copied"):
            copy.copy(forward)


async def test_the_tunnel_ends_a_while_after_its_last_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_tunnel, "TUNNEL_LINGER", 0.0)
    workers = FakeWorkers()
    async with forwarding_client(tmp_path, workers.behave) as client, target() as port:
        async with client.forward_local("127.0.0.1", port) as forward:
            for _ in range(3):
                assert await exchanged("127.0.0.1", forward.port) == b"hello end"
            assert (len(workers.runs), workers.ended.is_set()) == (1, False)
        await workers.ended.wait()
        _, writer = await client.open_connection("127.0.0.1", port)
        workers.ended.clear()
        writer.transport.abort()
        await workers.ended.wait()
        assert len(workers.runs) == 2
