"""What a page and a service send each other passes unchanged, with bounded memory, and ends together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.logins import ConnectOptions
from farhand_client.web.hosts import WebHost
from farhand_client.web.relay import (
    MAX_HELLO,
    MAX_UNSENT_TO_PAGE,
    NoHello,
    ServiceStream,
    check_hello,
    copy_both_ways,
    log_in_for_page,
)
from farhand_protocol.frames import Kind, encode_frame
from tests.support.fake_service import FakeService

TIMEOUT = 20.0


def hello(payload: bytes = b'{"type":"hello"}', *, kind: int = Kind.MESSAGE, channel: int = 0) -> bytes:
    return encode_frame(kind, channel, payload)


async def joined() -> tuple[ServiceStream, socket.socket]:
    """Return a stream, and the service's end of its connection."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    stream = ServiceStream()
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: stream, sock=ours)
    stream.take(transport)
    return stream, theirs


class TestHello:
    def test_a_whole_frame_with_a_hello_is_one(self) -> None:
        check_hello(hello())

    @pytest.mark.parametrize(
        "message",
        [
            "hello",
            b"",
            hello()[:-1],
            hello() + b"x",
            hello(b'{"type":"run"}'),
            hello(b'{"type":["hello"]}'),
            hello(b"[]"),
            hello(b"hello"),
            hello(b"[" * 10000),
            hello(kind=Kind.STDIN),
            hello(channel=1),
            hello(b'{"type":"hello","x":"' + b"x" * MAX_HELLO + b'"}'),
        ],
        ids=range(12),
    )
    def test_nothing_else_is(self, message: bytes | str) -> None:
        with pytest.raises(NoHello):
            check_hello(message)

    @given(st.binary(max_size=100))
    def test_no_bytes_do_harm(self, message: bytes) -> None:
        with suppress(NoHello):
            check_hello(message)


class TestStream:
    async def test_bytes_pass_in_order(self) -> None:
        stream, service = await joined()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(service, b"one")
        assert await stream.read() == b"one"
        await loop.sock_sendall(service, b"two")
        await loop.sock_sendall(service, b"three")
        found = b""
        while len(found) < 8:
            found += await stream.read()
        assert found == b"twothree"
        await stream.write(b"up")
        assert await loop.sock_recv(service, 10) == b"up"
        service.close()
        assert await asyncio.wait_for(stream.read(), TIMEOUT) == b""
        stream.close()

    async def test_a_page_that_does_not_read_stops_the_service(self) -> None:
        stream, service = await joined()
        sent = idle = 0
        while idle < 50:  # turns of the loop in which it took nothing
            try:
                sent += service.send(bytes(65536))
                idle = 0
            except BlockingIOError:
                idle += 1
            await asyncio.sleep(0)
        # What is kept here, and what the kernel holds of one socket.
        room = service.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert sent <= 2 * MAX_UNSENT_TO_PAGE + 4 * room
        assert len(await stream.read()) >= MAX_UNSENT_TO_PAGE
        assert len(await asyncio.wait_for(stream.read(), TIMEOUT)) > 0  # it reads on
        stream.close()
        service.close()

    async def test_a_service_that_does_not_read_stops_the_page(self) -> None:
        stream, service = await joined()
        writing = asyncio.ensure_future(_write_much(stream))
        done, _ = await asyncio.wait([writing], timeout=0.3)
        assert not done
        loop = asyncio.get_running_loop()
        got = 0
        while got < 8 << 20:
            got += len(await asyncio.wait_for(loop.sock_recv(service, 1 << 20), TIMEOUT))
        await asyncio.wait_for(writing, TIMEOUT)
        stream.close()
        service.close()

    async def test_a_writer_that_waits_for_room_is_released_by_the_end(self) -> None:
        stream, service = await joined()
        writing = asyncio.ensure_future(_write_much(stream))
        await asyncio.wait([writing], timeout=0.1)
        stream.close()
        await asyncio.wait_for(writing, TIMEOUT)
        await stream.write(b"after the end")
        assert await asyncio.wait_for(stream.read(), TIMEOUT) == b""
        service.close()


async def _write_much(stream: ServiceStream) -> Any:
    for _ in range(128):
        await stream.write(bytes(65536))


class LeavingPage:
    """A page that sends without end, takes nothing, and leaves when `left` is set."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 1
            yield bytes(65536)

    async def send(self, data: bytes) -> None:
        """Take nothing more."""

    async def wait_closed(self) -> None:
        await self.left.wait()


async def test_a_page_that_leaves_while_its_service_does_not_read_is_done(tmp_path: Path) -> None:
    async with FakeService().on_socket(tmp_path) as service:
        host = WebHost(service.host, ConnectOptions(timeout=TIMEOUT))
        stream, login = await log_in_for_page(host.log_in)
        service.connections[-1].fall_silent()
        page: Any = LeavingPage()
        copying = asyncio.ensure_future(copy_both_ways(page, stream, login, lambda: None))
        await asyncio.wait([copying], timeout=0.5)
        assert not copying.done()
        assert page.sent
        page.left.set()
        await asyncio.wait_for(copying, TIMEOUT)
