"""Connections through a tunnel arrive whole and are never mistaken for ended: through cuts, and beside slow ones."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
from pathlib import Path

import pytest

from farhand_client import Client, ForwardEvent, Killed, RunInfo, TunnelLost, connect
from tests.support.fake_forward_worker import echo, target
from tests.support.faulty_proxy import (
    Fault,
    check_nothing_is_left,
    client_through,
    faulty_proxy,
    network_service,
    random_faults,
)
from tests.support.processes import descriptors
from tests.support.service import Service

MiB = 1 << 20
SIZE = 50 * MiB
CUTS = 20


async def swap(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seed: int, size: int = SIZE
) -> tuple[int, str]:
    """Send `size` bytes that `seed` determines, and the end; return the count and the digest of what arrives."""
    block = random.Random(seed).randbytes(MiB)

    async def send() -> None:
        for number in range(size // MiB):
            writer.write(number.to_bytes(4) + block[4:])
            await writer.drain()
        writer.write_eof()

    sending = asyncio.ensure_future(send())
    digest, count = hashlib.sha256(), 0
    while chunk := await reader.read(MiB):
        digest.update(chunk)
        count += len(chunk)
    await sending
    return count, digest.hexdigest()


def sent_digest(seed: int, size: int = SIZE) -> str:
    """Return the digest of what `swap` sends."""
    block, digest = random.Random(seed).randbytes(MiB), hashlib.sha256()
    for number in range(size // MiB):
        digest.update(number.to_bytes(4) + block[4:])
    return digest.hexdigest()


async def test_fifty_megabytes_each_way_arrive_through_twenty_cuts(tmp_path: Path) -> None:
    seed = int(os.environ.get("FARHAND_TEST_SEED") or int.from_bytes(os.urandom(4)))
    print(f"FARHAND_TEST_SEED={seed}")
    received: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    async def there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await swap(reader, writer, seed + 1))

    faults = random_faults(seed, CUTS, SIZE // CUTS, {"fin": 8, "rst": 8, "vanish": 3, "edge": 1}, of_client=True)
    async with network_service(tmp_path) as service, faulty_proxy(service, iter(faults)) as line, target(there) as port:
        async with client_through(line, tmp_path) as client:
            reader, writer = await client.open_connection("127.0.0.1", port)
            assert await swap(reader, writer, seed) == (SIZE, sent_digest(seed + 1))
            writer.close()
            assert await received == (SIZE, sent_digest(seed))
            assert len(line.made) > CUTS / 2
        await check_nothing_is_left(service)


async def test_a_remote_listener_and_its_connections_outlive_cuts(tmp_path: Path) -> None:
    faults = [Fault("rst", 40_000 + 1000 * number) for number in range(4)]
    async with (
        network_service(tmp_path) as service,
        faulty_proxy(service, iter(faults)) as line,
        target() as port,
        client_through(line, tmp_path) as client,
        client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1") as forward,
    ):
        kept = await asyncio.open_connection("127.0.0.1", forward.port)
        while len(line.made) < len(faults):
            for reader, writer in (kept, await asyncio.open_connection("127.0.0.1", forward.port)):
                writer.write(bytes(5000))
                assert await reader.readexactly(5000) == bytes(5000)
                if writer is not kept[1]:
                    writer.write_eof()
                    assert await reader.read() == b" end"
                    writer.close()
        kept[1].close()


async def test_every_kind_of_target_and_listener_passes_ends_both_ways(core: Service, tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(echo, tmp_path / "there")
    async with connect(core.host) as client, target() as ipv4, target(host="::1") as ipv6:
        async with (
            client.forward_local("127.0.0.1", ipv4) as to_ipv4,
            client.forward_local("::1", ipv6, listen_host="::1") as to_ipv6,
            client.forward_local(path=tmp_path / "there", listen_path=tmp_path / "here") as to_unix,
        ):
            for connecting in (
                asyncio.open_connection("127.0.0.1", to_ipv4.port),
                asyncio.open_connection("::1", to_ipv6.port),
                asyncio.open_unix_connection(to_unix.path),
                client.open_connection("localhost", ipv4),
                client.open_unix_connection(tmp_path / "there"),
            ):
                reader, writer = await connecting
                writer.write(b"hello")
                writer.write_eof()
                assert await reader.read() == b"hello end"
                writer.close()
        (run,) = await tunnels(client)
        assert f"-L 0:127.0.0.1:{ipv4}" in run.command
    server.close()


async def test_one_that_is_not_read_holds_up_only_itself(core: Service) -> None:
    size = 20 * MiB

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(bytes(MiB))
                await writer.drain()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await swap(reader, writer, 2, size)

    async with connect(core.host) as client, target(flood) as flooding, target(answer) as answering:
        _, unread = await client.open_connection("127.0.0.1", flooding)
        reader, writer = await client.open_connection("127.0.0.1", answering)
        assert await swap(reader, writer, 1, size) == (size, sent_digest(2, size))
        writer.close()
        unread.transport.abort()


async def test_two_hundred_connections_at_once_are_all_served(core: Service) -> None:
    async def exchange(number: int, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"%d" % number * 1000)
        writer.write_eof()
        assert await reader.read() == b"%d" % number * 1000 + b" end"
        writer.close()

    async with (
        connect(core.host) as client,
        target() as port,
        client.forward_local("127.0.0.1", port, listen_host="127.0.0.1") as forward,
    ):
        await asyncio.gather(*(exchange(number, forward.port) for number in range(200)))


async def tunnels(client: Client) -> list[RunInfo]:
    """Return the tunnels under way."""
    return [run for run in await client.runs() if run.forward]


async def test_nothing_is_left_when_a_client_is_closed_while_connections_last(core: Service) -> None:
    async with connect(core.host) as watching, target() as port:
        await watching.ping()
        tasks, ours, there = asyncio.all_tasks(), descriptors(os.getpid()), descriptors(core.process.pid)
        client = await connect(core.host)
        forward = await client.forward_local("127.0.0.1", port, listen_host="127.0.0.1")
        back = await client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1")
        streams = [
            await asyncio.open_connection("127.0.0.1", forward.port),
            await asyncio.open_connection("127.0.0.1", back.port),
            await client.open_connection("127.0.0.1", port),
        ]
        for reader, writer in streams:
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        (run,) = await tunnels(watching)
        assert run.pid is not None
        await client.close()
        assert not Path(f"/proc/{run.pid}").exists()
        assert (await watching.wait(run.id)).returncode == 0
        for reader, writer in streams:
            with pytest.raises(OSError, match=r"reset|tunnel"):
                await reader.read()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        async with asyncio.timeout(20):  # the echoes here end by themselves
            while asyncio.all_tasks() - tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)
        async with asyncio.timeout(20):
            while descriptors(os.getpid()) > ours or descriptors(core.process.pid) > there:
                await watching.ping()


async def test_after_its_worker_was_killed_a_forward_goes_on_with_another(core: Service) -> None:
    events: asyncio.Queue[ForwardEvent] = asyncio.Queue()
    async with (
        connect(core.host) as client,
        target() as port,
        client.forward_local("127.0.0.1", port, listen_host="127.0.0.1") as forward,
        client.forward_remote("127.0.0.1", port, listen_host="127.0.0.1", watch=events.put_nowait) as back,
    ):
        reader, _ = await client.open_connection("127.0.0.1", port)
        (run,) = await tunnels(client)
        assert run.pid is not None
        os.kill(run.pid, signal.SIGKILL)
        with pytest.raises(TunnelLost):
            await reader.read()
        lost = await events.get()
        assert (lost.kind, "SIGKILL" in str(lost.error)) == ("lost", True)
        assert (await events.get()).kind == "restored"
        for listening in (forward.port, back.port):
            reader, writer = await asyncio.open_connection("127.0.0.1", listening)
            writer.write_eof()
            assert await reader.read() == b" end"
            writer.close()
        (second,) = await tunnels(client)
        assert second.id != run.id


async def test_a_tunnel_that_is_stopped_by_its_user_is_lost(core: Service) -> None:
    async with connect(core.host) as client, target() as port:
        reader, _ = await client.open_connection("127.0.0.1", port)
        (run,) = await tunnels(client)
        stopped = await client.stop(run.id)
        assert isinstance(stopped.outcome, Killed)
        with pytest.raises(TunnelLost):
            await reader.read()
