"""Frames over two pipes, for a tunnel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

FRAMES_READ_SIZE: Final = 256 << 10
"""Bytes read at once: a frame of the largest size. More takes longer, because Python allocates it anew each time."""


class PipeFrames:
    """Reads from one descriptor and writes to another, both of which are pipes (or sockets) that nobody else uses."""

    def __init__(self, reading: int = 0, writing: int = 1) -> None:
        self._loop = asyncio.get_running_loop()
        self._reading = reading
        self._writing = writing
        os.set_blocking(reading, False)  # the pipe's other end is another open file, which this does not concern
        os.set_blocking(writing, False)

    async def read(self) -> bytes:
        """Return some bytes; none at the end. Raises OSError."""
        while True:
            try:
                return os.read(self._reading, FRAMES_READ_SIZE)
            except BlockingIOError:
                await self._ready(self._reading, self._loop.add_reader, self._loop.remove_reader)

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises OSError, if nobody reads any more for instance."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._writing, left) :]
            except BlockingIOError:
                await self._ready(self._writing, self._loop.add_writer, self._loop.remove_writer)

    async def _ready(self, fd: int, watch: Callable[..., None], unwatch: Callable[[int], Any]) -> None:
        ready = self._loop.create_future()
        watch(fd, _set, ready)
        try:
            await ready
        finally:
            unwatch(fd)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
