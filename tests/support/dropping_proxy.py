"""A proxy in front of a TCP port that drops the first connections, and remembers the first bytes of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field


@dataclass
class DroppingProxy:
    """A proxy that listens on `port` of 127.0.0.1."""

    port: int = 0
    first_bytes: list[bytes] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def dropping_proxy(target: int, drops: Sequence[bytes] = ()) -> AsyncIterator[DroppingProxy]:
    """Forward connections to the port `target`, but answer the first ones with the bytes in `drops`, and close them."""
    proxy = DroppingProxy()
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(65536)
        proxy.first_bytes.append(first)
        number = len(proxy.first_bytes) - 1
        if number < len(drops):
            writer.write(drops[number])
            writer.close()
            return
        up, down = await asyncio.open_connection("127.0.0.1", target)
        down.write(first)
        await asyncio.gather(copy(reader, down), copy(up, writer))

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
