"""Frames over two pipes, for a tunnel."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from farhand_protocol.buffers import RETAINED_HEAP

FRAMES_READ_SIZE: Final = 256 << 10
"""Bytes read at once: a frame of the largest size. More takes longer, because Python allocates it anew each time."""


class PipeFrames:
    """Reads from one descriptor and writes to another, both of which are pipes (or sockets) that nobody else uses."""

    def __init__(self, reading: int = 0, writing: int = 1) -> None:
        bytearray(RETAINED_HEAP)  # so that the memory for each read is not mapped again (mallopt(3))
        self._loop = asyncio.get_running_loop()
        self._reading = reading
        self._writing = writing
        self._arriving: asyncio.Future[bytes] | None = None
        self._watched = False
        os.set_blocking(reading, False)  # the pipe's other end is another open file, which this does not concern
        os.set_blocking(writing, False)

    async def read(self) -> bytes:
        """Return some bytes; none at the end. Raises OSError."""
        self._arriving = self._loop.create_future()
        if not self._watched:
            self._watched = True
            self._loop.add_reader(self._reading, self._readable)
        try:
            return await self._arriving
        except BaseException:
            self._unwatch()
            raise

    def _readable(self) -> None:
        # Watched on while bytes are acted on, which costs less than to begin again, unless more of them come meanwhile.
        if self._arriving is None or self._arriving.done():
            self._unwatch()
            return
        try:
            data = os.read(self._reading, FRAMES_READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._unwatch()
            self._arriving.set_exception(error)
            return
        if not data:
            self._unwatch()  # otherwise the loop would report the end again and again
        self._arriving.set_result(data)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._reading)

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises OSError, if nobody reads any more for instance."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._writing, left) :]
            except BlockingIOError:
                await self._writable()

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._writing, _set, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._writing)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
