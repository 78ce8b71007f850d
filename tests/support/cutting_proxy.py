"""A proxy in front of a Unix socket that cuts connections after a given number of bytes, anywhere in a frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

from tests.support.unix_proxy import forward


@contextlib.asynccontextmanager
async def cutting_proxy(
    socket: Path, target: Path, after: Iterator[tuple[int | None, int | None]]
) -> AsyncIterator[list[int]]:
    """Listen at `socket`. `after` yields, for each connection, the bytes to forward to `target` and from it; None
    means no limit.

    Once it is exhausted, connections are not cut. Yields a list with one element for each cut.
    """
    cuts: list[int] = []
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        while data := await reader.read(65536 if left is None else min(65536, left)):
            writer.write(data)
            await writer.drain()
            if left is not None:
                left -= len(data)
                if not left:
                    cuts.append(len(cuts))
                    return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_target, from_target = next(after, (None, None))
        await forward(reader, writer, target, partial(copy, left=to_target), partial(copy, left=from_target))

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if finished.is_set():
            writer.transport.abort()  # accepted just before the end
            return
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # also if it was cancelled before its first step

    finished = asyncio.Event()
    server = await asyncio.start_unix_server(accepted, socket)
    try:
        yield cuts
    finally:
        finished.set()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
