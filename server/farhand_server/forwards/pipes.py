"""Frames over two pipes, for a tunnel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from farhand_forwards.exchange import FrameReceiver
from farhand_protocol.buffers import RETAINED_HEAP

FRAMES_READ_SIZE: Final = 256 << 10
"""Bytes read at once: a frame of the largest size. More takes longer, because Python allocates it anew each time."""


MAX_CHUNKS: Final = 1024
"""Buffers written at once: as many as the kernel takes (IOV_MAX, writev(2))."""

JOINED_CHUNKS: Final = 16 << 10
"""Bytes up to which joining buffers costs less than handing each of them to the kernel."""


class PipeFrames:
    """Reads from one descriptor and writes to another, both of which are pipes (or sockets) that nobody else uses."""

    def __init__(self, reading: int = 0, writing: int = 1) -> None:
        bytearray(RETAINED_HEAP)  # so that the memory for each read is not mapped again (mallopt(3))
        self._loop = asyncio.get_running_loop()
        self._reading = reading
        self._writing = writing
        self._receiver: FrameReceiver | None = None
        self._watched = False
        self._paused = False
        self._left: list[bytes | memoryview] = []
        """What the pipe has not taken yet."""
        os.set_blocking(reading, False)  # the pipe's other end is another open file, which this does not concern
        os.set_blocking(writing, False)

    def start(self, receiver: FrameReceiver) -> None:
        """Call `receiver` from now on."""
        self._receiver = receiver
        self._watch()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._paused = True
        self._unwatch()

    def resume(self) -> None:
        """Read on after `pause`."""
        self._paused = False
        self._watch()

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Write it, or return False: then what the pipe does not take waits, and `frames_writable` follows. Raises
        OSError, if nobody reads any more for instance."""
        if len(frames) > 1 and sum(map(len, frames)) <= JOINED_CHUNKS:
            frames = (b"".join(frames),)
        self._left += frames
        if self._write_left():
            return True
        self._loop.add_writer(self._writing, self._writable)
        return False

    def stop(self) -> None:
        """Neither read nor write any more."""
        self._receiver = None
        self._unwatch()
        if self._left:
            self._left.clear()
            self._loop.remove_writer(self._writing)

    def _watch(self) -> None:
        if not (self._watched or self._paused) and self._receiver is not None:
            self._watched = True
            self._loop.add_reader(self._reading, self._readable)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._reading)

    def _readable(self) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        try:
            data = os.read(self._reading, FRAMES_READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._unwatch()
            receiver.frames_ended(error)
            return
        if data:
            receiver.frames_arrived(data)
        else:
            self._unwatch()  # otherwise the loop would report the end again and again
            receiver.frames_ended(None)

    def _write_left(self) -> bool:
        """Write what the pipe takes; return whether that is everything. Raises OSError."""
        left = self._left
        while left:
            try:
                count = os.writev(self._writing, left[:MAX_CHUNKS])
            except BlockingIOError:
                return False
            for whole, chunk in enumerate(left):
                if count < len(chunk):
                    left[:whole] = []
                    if count:
                        left[0] = memoryview(chunk)[count:]
                    break
                count -= len(chunk)
            else:
                left.clear()
        return True

    def _writable(self) -> None:
        try:
            if not self._write_left():
                return
        except OSError as error:
            self._end_writing(error)
            return
        self._loop.remove_writer(self._writing)
        if self._receiver is not None:
            self._receiver.frames_writable()

    def _end_writing(self, error: OSError) -> None:
        self._left.clear()
        self._loop.remove_writer(self._writing)
        if self._receiver is not None:
            self._receiver.frames_ended(error)
