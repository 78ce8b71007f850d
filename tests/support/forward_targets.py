"""What forwards lead to in tests: servers on loopback ports of the test's own, in the test's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

EXCHANGE_TIMEOUT = 20.0
"""Seconds for an answer, on a busy machine."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(serve: Serve, *, path: str | None = None) -> AsyncIterator[int]:
    """Serve each connection to a free port by `serve`, or to the Unix socket at `path`; yield the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await serve(reader, writer)
        finally:
            writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    if path is None:
        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    else:
        server = await asyncio.start_unix_server(accepted, path)
    try:
        yield server.sockets[0].getsockname()[1] if path is None else 0
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer everything, once it has ended, in capitals."""
    writer.write((await reader.read()).upper())
    await writer.drain()


def http(body: bytes) -> Serve:
    """Answer each request of HTTP/1.0 with `body`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        digest = hashlib.sha256(body).hexdigest()
        writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\nETag: {digest}\r\n\r\n".encode() + body)
        await writer.drain()

    return serve


@contextlib.asynccontextmanager
async def serving_datagrams() -> AsyncIterator[int]:
    """Answer each datagram to a free port in capitals; yield the port."""
    loop = asyncio.get_running_loop()

    def readable(sock: socket.socket) -> None:  # not a DatagramTransport, which sends no empty datagrams
        data, address = sock.recvfrom(65536)
        sock.sendto(data.upper(), address)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        loop.add_reader(sock, readable, sock)
        try:
            yield sock.getsockname()[1]
        finally:
            loop.remove_reader(sock)


async def exchange(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """Send `data` and its end to a port, and return the answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(EXCHANGE_TIMEOUT):
            return await reader.read()
    finally:
        writer.close()


async def exchange_datagram(port: int, data: bytes) -> bytes:
    """Send a datagram to a port, and return the one that answers."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        await loop.sock_sendall(sock, data)
        async with asyncio.timeout(EXCHANGE_TIMEOUT):
            return await loop.sock_recv(sock, 65536)
