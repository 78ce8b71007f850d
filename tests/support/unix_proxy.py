"""A proxy in front of a service's Unix socket whose connections a test can cut, restore and stall."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

Copy: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Copies from one connection to the other until it has reached its end."""


async def forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Path, copy_to: Copy, copy_from: Copy
) -> None:
    """Connect an accepted connection with the socket `target` until one of the copies ends; then abort both sides, also
    if cancelled, at any await."""
    with contextlib.ExitStack() as stack:
        stack.callback(writer.transport.abort)
        theirs, ours = await asyncio.open_unix_connection(target)
        stack.callback(ours.transport.abort)
        async with asyncio.TaskGroup() as group:
            copies = [
                group.create_task(_run(copy_to(reader, ours))),
                group.create_task(_run(copy_from(theirs, writer))),
            ]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for one in copies:
                one.cancel()


async def _run(copy: Awaitable[None]) -> None:
    with contextlib.suppress(ConnectionError):
        await copy


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
        await forward(reader, writer, self._target, self._copy, self._copy)

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
