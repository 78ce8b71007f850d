"""A proxy in front of a service's Unix socket whose connections a test can cut, restore and stall."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path


class UnixProxy:
    """A Unix socket that forwards to a service's."""

    def __init__(self, socket: Path, target: Path) -> None:
        self.socket = socket
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._whole = False
        self._open = asyncio.Event()
        self._open.set()

    @property
    def host(self) -> str:
        return f"unix:{self.socket}"

    async def restore(self) -> None:
        self._whole = True
        self._server = await asyncio.start_unix_server(self._accepted, self.socket)

    async def cut(self) -> None:
        """Close every connection and stop listening."""
        self._whole = False
        if self._server is not None:
            self._server.close()
            self._server = None
            self.socket.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pause(self) -> None:
        """Stop forwarding without closing anything."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._open.wait()
            writer.write(data)
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(self._target)
        copies = [asyncio.ensure_future(self._copy(reader, ours)), asyncio.ensure_future(self._copy(theirs, writer))]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in copies:
                one.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            for end in (writer, ours):
                end.transport.abort()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()  # accepted just before the cut
            return
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # also if it was cancelled before its first step


@contextlib.asynccontextmanager
async def unix_proxy(directory: Path, target: Path) -> AsyncIterator[UnixProxy]:
    """Start a proxy in `directory`; cut it at the end."""
    made = UnixProxy(directory / "proxy", target)
    await made.restore()
    try:
        yield made
    finally:
        await made.cut()
