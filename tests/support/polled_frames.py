"""A stream of frames made of two coroutines, one that reads and one that writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from farhand_forwards.exchange import FrameReceiver


class AwaitedStream(Protocol):
    """Something that is read and written by waiting."""

    async def read(self) -> bytes:
        """Return what has arrived; nothing at the end."""

    async def write(self, data: bytes) -> None:
        """Write it all."""


class PolledFrames:
    """Carries the frames of a tunnel over such a stream, one write at a time."""

    def __init__(self, stream: AwaitedStream) -> None:
        self._stream = stream
        self._receiver: FrameReceiver | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._unwritten: asyncio.Queue[bytes] = asyncio.Queue()

    def start(self, receiver: FrameReceiver) -> None:
        self._receiver = receiver
        self._tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write())]

    def pause(self) -> None:
        self._resumed.clear()

    def resume(self) -> None:
        self._resumed.set()

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        self._unwritten.put_nowait(b"".join(frames))
        return False

    def stop(self) -> None:
        self._receiver = None
        for task in self._tasks:
            task.cancel()

    async def _read(self) -> None:
        while True:
            await self._resumed.wait()
            data = await self._stream.read()
            if self._receiver is None:
                return
            if not data:
                self._receiver.frames_ended(None)
                return
            self._receiver.frames_arrived(data)

    async def _write(self) -> None:
        while True:
            await self._stream.write(await self._unwritten.get())
            if self._receiver is None:
                return
            self._receiver.frames_writable()
