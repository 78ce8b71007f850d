"""An association forgets targets that are not used, and serves one program alone."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from farhand_client.forwards import socks_udp
from farhand_client.forwards.socks import SocksDatagram, datagram_from
from farhand_forwards.targets import ForwardTarget, InetTarget
from tests.support.fake_forward_worker import FakeWorkers, forwarding_client


def udp() -> socket.socket:
    """Return a socket for datagrams, at a free port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


@asynccontextmanager
async def association(directory: Path, workers: FakeWorkers) -> AsyncIterator[tuple[str, int]]:
    """Ask for an association; yield where to send datagrams."""
    async with (
        forwarding_client(directory, workers.behave) as client,
        client.forward_socks(listen_host="127.0.0.1") as forward,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        answer = await reader.readexactly(12)
        yield socket.inet_ntoa(answer[6:10]), int.from_bytes(answer[10:])
        writer.close()
        await writer.wait_closed()


async def asked(program: socket.socket, relay: tuple[str, int], there: socket.socket, data: bytes) -> bytes:
    """Send a datagram to `there` by the relay, have it echoed, and return what comes back."""
    loop = asyncio.get_running_loop()
    host, port = there.getsockname()
    program.sendto(SocksDatagram(host, port, data).encoded(), relay)
    received, peer = await loop.sock_recvfrom(there, 1 << 16)
    there.sendto(received, peer)
    answer = datagram_from(await loop.sock_recv(program, 1 << 16))
    assert answer is not None
    assert (answer.host, answer.port) == (host, port)
    return answer.data


async def test_the_first_that_sends_is_the_program_and_no_other(tmp_path: Path) -> None:
    with udp() as program, udp() as stranger, udp() as there:
        async with association(tmp_path, FakeWorkers()) as relay:
            assert await asked(program, relay, there, b"one") == b"one"
            host, port = there.getsockname()
            stranger.sendto(SocksDatagram(host, port, b"stranger").encoded(), relay)
            assert await asked(program, relay, there, b"two") == b"two"


async def test_on_this_machine_only_the_user_of_the_control_connection_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with udp() as program, udp() as stranger, udp() as there:
        owners = {stranger.getsockname(): frozenset({os.getuid() + 1})}
        monkeypatch.setattr(socks_udp, "datagram_owners", lambda address: owners.get(address, frozenset({os.getuid()})))
        async with association(tmp_path, FakeWorkers()) as relay:
            host, port = there.getsockname()
            stranger.sendto(SocksDatagram(host, port, b"stranger").encoded(), relay)
            assert await asked(program, relay, there, b"one") == b"one"


async def test_the_target_that_was_not_used_for_the_longest_time_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socks_udp, "MAX_SOCKS_DESTINATIONS", 1)
    workers = FakeWorkers()
    with udp() as program, udp() as first, udp() as second:
        async with association(tmp_path, workers) as relay:
            for there in (first, second, first):
                assert await asked(program, relay, there, b"x") == b"x"
            assert len(workers.tunnels[0].reports()) == 1


async def test_a_target_that_is_not_used_for_a_while_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socks_udp, "SOCKS_IDLE_TIMEOUT", 0.5)
    workers = FakeWorkers()
    with udp() as program, udp() as there:
        async with association(tmp_path, workers) as relay:
            assert await asked(program, relay, there, b"x") == b"x"
            async with asyncio.timeout(20):
                while workers.tunnels[0].reports():  # noqa: ASYNC110  # the tunnel has no event for it
                    await asyncio.sleep(0.01)
            assert await asked(program, relay, there, b"again") == b"again"


async def test_a_target_that_cannot_be_reached_is_as_silent_as_the_network(tmp_path: Path) -> None:
    with udp() as program, udp() as there:
        async with association(tmp_path, FakeWorkers()) as relay:
            program.sendto(SocksDatagram("nowhere.invalid", 53, b"x").encoded(), relay)
            assert await asked(program, relay, there, b"x") == b"x"


async def test_a_target_that_is_refused_is_asked_for_once_in_a_while_whatever_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socks_udp, "REFUSED_PEER_DELAY", 1000.0)
    asked_for: list[int] = []

    def denied(target: ForwardTarget, address: str | None) -> str | None:
        if isinstance(target, InetTarget) and target.port == 53:
            asked_for.append(target.port)
            return "the policy denies port 53"
        return None

    with udp() as program, udp() as there:
        async with association(tmp_path, FakeWorkers(denied)) as relay:
            for _ in range(5):
                program.sendto(SocksDatagram("127.0.0.1", 53, b"x").encoded(), relay)
                assert await asked(program, relay, there, b"x") == b"x"
    assert asked_for == [53]


async def test_an_association_lasts_as_long_as_its_control_connection_whatever_that_says(tmp_path: Path) -> None:
    workers = FakeWorkers()
    with udp() as program, udp() as there:
        async with (
            forwarding_client(tmp_path, workers.behave) as client,
            client.forward_socks(listen_host="127.0.0.1") as forward,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
            writer.write(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
            answer = await reader.readexactly(12)
            relay = socket.inet_ntoa(answer[6:10]), int.from_bytes(answer[10:])
            writer.write(b"nothing has a meaning here")
            for _ in range(3):
                assert await asked(program, relay, there, b"x") == b"x"
            writer.close()
            async with asyncio.timeout(20):
                while workers.tunnels[0].reports():  # noqa: ASYNC110  # the tunnel has no event for it
                    await asyncio.sleep(0.01)
