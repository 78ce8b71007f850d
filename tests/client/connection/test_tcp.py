"""The first address that accepts a connection is used, and an unreachable one delays nothing (RFC 8305)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from farhand_client.connection import tcp
from farhand_client.connection.tcp import connect_tcp
from tests.support.processes import own_descriptors

CLOSED, ALSO_CLOSED, OPEN, SILENT = (f"127.0.0.{number}" for number in (2, 3, 4, 5))
OPEN_6 = "::1"
TIMEOUT = 10.0

Names = Callable[..., None]


@pytest.fixture
def port() -> Iterator[int]:
    """A port that accepts at `OPEN`; at `SILENT` its backlog is full, so that the kernel drops new connections."""
    with socket.create_server((OPEN, 0)) as server, contextlib.ExitStack() as stack:
        port: int = server.getsockname()[1]
        stack.enter_context(socket.create_server((SILENT, port), backlog=0))
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect((SILENT, port))
        yield port


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Make the name `service` resolve to the given addresses."""

    def stand_for(*addresses: str) -> None:
        def resolve(host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
            assert host == "service"
            return [_found(address, port) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    return stand_for


def _found(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)


async def reached(port: int) -> str:
    """Connect, close the connection, and return the address that it led to."""
    async with asyncio.timeout(TIMEOUT):
        with await connect_tcp("service", port) as sock:
            return str(sock.getpeername()[0])


def descriptors() -> int:
    return len(own_descriptors())


async def test_after_a_refusal_the_next_address_is_tried_at_once(
    port: int, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "NEXT_ADDRESS_DELAY", 60.0)
    names(CLOSED, ALSO_CLOSED, OPEN, SILENT)
    assert await reached(port) == OPEN


async def test_a_silent_address_does_not_delay_the_others(port: int, names: Names) -> None:
    names(SILENT, OPEN)
    before = descriptors()
    assert await reached(port) == OPEN
    assert descriptors() == before


async def test_a_silent_address_does_not_delay_the_others_on_uvloop(port: int, names: Names) -> None:
    names(SILENT, CLOSED, OPEN)

    def other_loop() -> str:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(reached(port))

    assert await asyncio.to_thread(other_loop) == OPEN


async def test_address_families_alternate(port: int, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "NEXT_ADDRESS_DELAY", 60.0)
    names(CLOSED, SILENT, OPEN_6)
    try:
        server = socket.create_server((OPEN_6, port), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert await reached(port) == OPEN_6


async def test_if_every_address_refuses_the_first_error_is_raised(port: int, names: Names) -> None:
    names(CLOSED, ALSO_CLOSED)
    before = descriptors()
    with pytest.raises(ConnectionRefusedError):
        await reached(port)
    assert descriptors() == before


async def test_cancelling_closes_every_attempt(port: int, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "NEXT_ADDRESS_DELAY", 0.0)
    names(SILENT, SILENT, SILENT)
    before = descriptors()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect_tcp("service", port)
    assert descriptors() == before


async def test_the_socket_is_non_blocking_and_has_no_nagle_delay(port: int, names: Names) -> None:
    names(OPEN)
    with await connect_tcp("service", port) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getblocking()


async def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        await connect_tcp("nowhere.invalid", 1)
