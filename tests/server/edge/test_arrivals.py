"""A connection waits for its first bytes, and gives way to others if they do not come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from farhand_server.edge.arrivals import Arrival, Arrivals
from tests.server.edge.harness import TEST_TIMEOUT, openssl_hello, until

HELLO = openssl_hello()


class Waiting:
    """Arrivals, and what became of each connection."""

    def __init__(self, deadline: float = TEST_TIMEOUT, limit: int = 1024) -> None:
        self.arrived: dict[int, bytes] = {}
        self.failed: dict[int, str] = {}
        self.event = asyncio.Event()
        self.arrivals = Arrivals(
            asyncio.get_running_loop(), lambda: deadline, arrived=self._arrived, failed=self._failed, limit=limit
        )
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))

    def connect(self, number: int, data: bytes = b"", source: str = "192.0.2.1") -> socket.socket:
        client = socket.create_connection(self._listening.getsockname())
        ours, _ = self._listening.accept()
        ours.setblocking(False)
        self._open += [client, ours]
        client.sendall(data)
        self.arrivals.add(ours, (IPv4Address(source), number), (IPv4Address("192.0.2.9"), 7022))
        return client

    async def settled(self, count: int) -> None:
        await until(lambda: len(self.arrived) + len(self.failed) == count)

    def close(self) -> None:
        self.arrivals.close()
        self._listening.close()
        for sock in self._open:
            sock.close()

    def _arrived(self, arrival: Arrival, data: bytes) -> None:
        assert arrival.sock.recv(1 << 16, socket.MSG_PEEK) == data, "the bytes stay in the socket"
        assert arrival.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
        self.arrived[arrival.peer[1]] = data

    def _failed(self, arrival: Arrival, reason: str) -> None:
        assert arrival.sock.fileno() == -1
        self.failed[arrival.peer[1]] = reason


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    waiting = Waiting()
    yield waiting
    waiting.close()


async def test_the_first_bytes_are_waited_for_until_they_are_whole(waiting: Waiting) -> None:
    client = waiting.connect(1)
    for part in (HELLO[:1], HELLO[1:5], HELLO[5:100]):
        client.sendall(part)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(waiting.arrivals) == 1
    client.sendall(HELLO[100:])
    await waiting.settled(1)
    assert waiting.arrived == {1: HELLO}


async def test_bytes_that_have_arrived_already_are_not_waited_for(waiting: Waiting) -> None:
    waiting.connect(1, HELLO)
    waiting.connect(2, b"GET / HTTP/1.1\r\n\r\n")
    await waiting.settled(2)
    assert waiting.arrived == {1: HELLO, 2: b"GET / HTTP/1.1\r\n\r\n"}


async def test_a_connection_that_ends_after_a_part_does_not_keep_the_loop_busy(waiting: Waiting) -> None:
    client = waiting.connect(1, HELLO[:50])
    client.shutdown(socket.SHUT_WR)
    await waiting.settled(1)
    assert waiting.arrived == {1: HELLO[:50]}, "TLS finds out that it has ended"


async def test_a_connection_that_ends_without_a_byte_has_failed(waiting: Waiting) -> None:
    waiting.connect(1).close()
    await waiting.settled(1)
    assert waiting.failed == {1: "ended before the TLS handshake"}


async def test_a_silent_connection_is_closed_at_the_deadline() -> None:
    waiting = Waiting(deadline=0.05)
    waiting.connect(1)
    waiting.connect(2, HELLO[:50])
    await waiting.settled(2)
    assert waiting.failed == {1: "TLS deadline", 2: "TLS deadline"}
    waiting.close()


async def test_the_oldest_makes_room_for_the_next() -> None:
    waiting = Waiting(limit=3)
    for number in range(1, 6):
        waiting.connect(number, source=f"192.0.2.{number}")
    assert list(waiting.failed) == [1, 2]
    assert len(waiting.arrivals) == 3
    waiting.close()


async def test_a_source_with_a_quarter_of_all_makes_room_for_its_own_next() -> None:
    waiting = Waiting(limit=8)
    waiting.connect(1, source="192.0.2.2")
    for number in range(2, 5):
        waiting.connect(number)
    waiting.connect(5, HELLO)
    assert list(waiting.failed) == [2]
    assert list(waiting.arrived) == [5]
    waiting.close()


class Unwatchable(socket.socket):
    """A socket that the kernel refuses to watch, as it does when it is short of memory: epoll_ctl(2) takes no files."""

    def __init__(self, file: int) -> None:
        super().__init__()
        self._file = file

    def recv(self, *_: object) -> bytes:
        raise BlockingIOError

    def fileno(self) -> int:
        return self._file


async def test_a_connection_that_cannot_be_watched_is_not_kept(waiting: Waiting, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, Unwatchable(file.fileno()) as sock:
        peer = (IPv4Address("192.0.2.1"), 1)
        with pytest.raises(OSError, match="not permitted"):
            waiting.arrivals.add(sock, peer, peer)
    assert len(waiting.arrivals) == 0
