"""A worker carries connections as its order says, records each, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_forwards.flow import Flow, TunnelClosed
from farhand_forwards.targets import ForwardRefused, InetTarget, UnixTarget
from farhand_server.forwards.rules import ForwardRules
from farhand_server.programs.order_file import RunIds
from tests.support.forward_workers import StartedForward, forward_worker


@pytest.fixture
async def echo() -> AsyncIterator[InetTarget]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield InetTarget("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()


async def echoed(worker: StartedForward, target: InetTarget | UnixTarget, data: bytes) -> bytes:
    flow = await worker.tunnel.open(target, "test")
    reader, writer = flow.streams()
    writer.write(data)
    writer.write_eof()
    received = await reader.read()
    writer.close()
    return received


async def ignore(flow: Flow, origin: str) -> None:
    raise AssertionError


async def test_it_connects_and_says_what_went_through(echo: InetTarget) -> None:
    async with forward_worker() as worker:
        assert await echoed(worker, echo, b"hello" * 100_000) == b"hello" * 100_000
        with pytest.raises(ForwardRefused, match="nothing listens there"):
            await worker.tunnel.open(InetTarget("127.0.0.1", 1))
        assert await worker.end() == 0
        assert worker.stderr == b""
    totals = worker.totals
    assert (totals.flows, totals.refused, totals.from_client, totals.to_client) == (1, 1, 500_000, 500_000)
    ended, refused = worker.records
    assert (ended.kind, ended.target, ended.address, ended.origin) == ("connect", str(echo), str(echo), "test")
    assert (ended.from_client, ended.to_client, ended.cause, ended.message) == (500_000, 500_000, "ended", "")
    assert (refused.cause, refused.target) == ("refused", "127.0.0.1:1")


async def test_it_listens_and_its_connections_reach_the_client() -> None:
    async def accepted(flow: Flow, origin: str) -> None:
        reader, writer = flow.streams()
        writer.write((await reader.read()).upper())
        writer.close()
        await writer.wait_closed()

    async with forward_worker() as worker:
        listener = await worker.tunnel.listen(InetTarget("", 0), accepted)
        assert isinstance(listener.address, InetTarget)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"HELLO"
        writer.close()
        assert await worker.end() == 0
    assert [record.kind for record in worker.records] == ["listen", "accept"]
    assert worker.totals.listeners == 1


async def test_what_the_order_does_not_allow_is_denied(echo: InetTarget) -> None:
    async with forward_worker(ForwardRules((f"127.0.0.1:{echo.port}",), ("localhost:1",), agent=False)) as worker:
        assert await echoed(worker, echo, b"x") == b"x"
        for target in (InetTarget("127.0.0.1", echo.port + 1), InetTarget("169.254.169.254", 80), UnixTarget(b"/x")):
            with pytest.raises(ForwardRefused) as refused:
                await worker.tunnel.open(target)
            assert refused.value.cause == "denied"
        for where in (InetTarget("", 0), InetTarget("*", 1), UnixTarget(b""), UnixTarget(b"/tmp/x")):
            with pytest.raises(ForwardRefused) as refused:
                await worker.tunnel.listen(where, ignore)
            assert refused.value.cause == "denied"
        assert await worker.end() == 0
    assert [record.cause for record in worker.records] == ["ended", *["denied"] * 7]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_asked_to_end_it_removes_its_sockets_and_ends_by_the_signal(tmp_path: Path, number: int) -> None:
    async with forward_worker(home=os.fsencode(tmp_path)) as worker:
        await worker.tunnel.listen(UnixTarget(b"s"), ignore)
        agent = await worker.tunnel.listen(UnixTarget(b""), ignore)
        assert isinstance(agent.address, UnixTarget)
        directory = Path(os.fsdecode(agent.address.path)).parent
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        worker.process.send_signal(number)
        assert await worker.wait() == -number
    assert not (tmp_path / "s").exists()
    assert not directory.exists()


async def test_killed_it_ends_the_connections_of_its_client_and_its_own(echo: InetTarget) -> None:
    async with forward_worker() as worker:
        flow = await worker.tunnel.open(echo)
        reader, writer = flow.streams()
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        worker.process.kill()
        with pytest.raises(ConnectionError):
            await reader.read(1)
        with pytest.raises(TunnelClosed):
            await worker.tunnel.open(echo)
        assert await worker.wait() == -signal.SIGKILL


async def test_nonsense_ends_it_with_a_sentence() -> None:
    async with forward_worker() as worker:
        assert worker.process.stdin is not None
        os.write(worker.process.stdin.fileno(), b"GET / HTTP/1.1\r\n\r\n")
        assert await worker.wait() == 1
        assert worker.stderr.startswith(b"farhandd: the client has sent what no tunnel allows: ")


async def test_it_may_have_all_descriptors_that_its_user_may() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as server:
        async with forward_worker() as worker:
            target = InetTarget("127.0.0.1", server.getsockname()[1])
            limits = Path(f"/proc/{worker.process.pid}/limits")
            await worker.tunnel.open(target)
            [line] = [line for line in limits.read_text().splitlines() if line.startswith("Max open files")]
            assert line.split()[3] == line.split()[4]


@pytest.mark.needs("root")
async def test_it_becomes_the_user_before_it_does_anything(tmp_path: Path) -> None:
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == 0 and each != Path("/"):
            each.chmod(0o755)
    mine = tmp_path / "mine"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(mine))
        sock.listen()
        mine.chmod(0o600)
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        os.chown(theirs, 61_001, 61_002)
        ids = RunIds(61_001, 61_002, (61_003,))
        async with forward_worker(home=os.fsencode(theirs), user=ids) as worker:
            with pytest.raises(ForwardRefused, match=r"[Pp]ermission denied"):
                await worker.tunnel.open(UnixTarget(os.fsencode(mine)))
            status = Path(f"/proc/{worker.process.pid}/status").read_text()
            assert "Uid:\t61001\t61001\t61001\t61001" in status
            assert "Groups:\t61003" in status
            assert "NoNewPrivs:\t1" in status
            await worker.tunnel.listen(UnixTarget(b"s"), ignore)
            assert (theirs / "s").stat().st_uid == 61_001
            assert await worker.end() == 0
